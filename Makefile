# The commands that this repository is worked with. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help up down demo tour test check-compose diff docs pictures lint fuzz vulncheck bench compare

# Pinned here and nowhere else. It is built on first use, which takes minutes.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

up: ## the whole stack with Docker, in the foreground
	docker compose up --build

down: ## stop the stack and forget its data
	docker compose down --volumes --remove-orphans

demo: ## the same without Docker, in the foreground
	go run ./demo

tour: ## the whole story once, in this terminal
	go run ./demo tour

test: ## all tests
	go test -count=1 work

check-compose: ## golden traces, OTLP over HTTP and dashboard queries, against the stack that is up
	E2E_GATEWAY_URL=http://127.0.0.1:$${TRAEFIK_PORT:-80} E2E_TEMPO_URL=http://127.0.0.1:$${TEMPO_PORT:-3200} \
		E2E_PROMETHEUS_URL=http://127.0.0.1:$${PROMETHEUS_PORT:-9090} E2E_LOKI_URL=http://127.0.0.1:$${LOKI_PORT:-3100} \
		E2E_OTLP_HTTP_URL=http://127.0.0.1:$${OTLP_HTTP_PORT:-4318} \
		go test -count=1 -run 'Trace|Caller|DashboardQueries' ./e2e/live

diff: ## docs/instrumentation.diff anew, after a change to a service
	go test -count=1 -run TestInstrumentationDiffIsCurrent ./e2e/source -update
	git diff --stat docs/instrumentation.diff

docs: ## tables, versions and sizes in docs/ and README.md anew
	go test -count=1 -run 'TestSettingsAreDocumentedAsHelpTellsThem|TestYourServiceGetsTheVersionsOfOurs|TestReadmeSaysHowMuchInstrumentationIs' ./e2e/docs -update

pictures: ## the screenshots in docs/pictures anew, of a demo that is running; needs Chromium
	go run ./e2e/pictures

lint: ## the linters of .golangci.yml, in each module, and that of the workflows
	go run $(ACTIONLINT)
	@for module in $$(sed -n 's/^\t\.\///p' go.work); do \
		echo "$$module"; (cd $$module && go run $(GOLANGCI_LINT) run --config ../.golangci.yml ./...) || exit 1; \
	done

fuzz: ## bad input for everything that takes any, FUZZTIME (1m) for each target: make fuzz FUZZTIME=10m
	FUZZTIME=$${FUZZTIME:-1m} .ci/fuzz

vulncheck: ## known vulnerabilities that the code can reach; needs the internet
	.ci/vulncheck

compare: ## what instrumentation costs on this machine, in some minutes: docs/cost.md
	go run ./demo compare

bench: ## the benchmarks, plain beside instrumented, in some twenty minutes; BENCH_ROUNDS=1 for a look
	BENCHSTAT=$(BENCHSTAT) .ci/bench
