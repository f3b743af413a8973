# The commands that this repository is worked with. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help up down demo tour test check-compose diff pictures lint

# Pinned here and nowhere else. It is built on first use, which takes minutes.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

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

check-compose: ## the golden tests, against the stack that is up
	E2E_GATEWAY_URL=http://127.0.0.1:$${TRAEFIK_PORT:-80} E2E_TEMPO_URL=http://127.0.0.1:$${TEMPO_PORT:-3200} \
		go test -count=1 -run 'Trace|Caller' ./e2e

diff: ## docs/instrumentation.diff anew, after a change to a service
	go test -count=1 -run TestInstrumentationDiffIsCurrent ./e2e -update
	git diff --stat docs/instrumentation.diff

pictures: ## the screenshots in docs/pictures anew, of a demo that is running; needs Chromium
	go run ./e2e/pictures

lint: ## the linters of .golangci.yml, in each module
	@for module in $$(sed -n 's/^\t\.\///p' go.work); do \
		echo "$$module"; (cd $$module && go run $(GOLANGCI_LINT) run --config ../.golangci.yml ./...) || exit 1; \
	done
