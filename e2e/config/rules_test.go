package config

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"

	"example.com/grafana-tempo-go-demo/e2e/internal/repo"
)

// ruleTests is conf/prometheus/alerts_test.yaml: the part of promtool's format for unit tests that
// it uses. See https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
type ruleTests struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []struct {
		Name           string
		Interval       model.Duration
		ExternalLabels map[string]string                 `yaml:"external_labels"`
		InputSeries    []struct{ Series, Values string } `yaml:"input_series"`
		AlertRuleTest  []struct {
			EvalTime  model.Duration `yaml:"eval_time"`
			Alertname string
			ExpAlerts []expectedAlert `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// expectedAlert is an alert that fires, without its name among the labels.
type expectedAlert struct {
	ExpLabels      map[string]string `yaml:"exp_labels"`
	ExpAnnotations map[string]string `yaml:"exp_annotations"`
}

func TestAlertRules(t *testing.T) {
	var tests ruleTests
	decode(t, "conf/prometheus/alerts_test.yaml", &tests)
	fired := map[string]bool{}
	for _, test := range tests.Tests {
		t.Run(test.Name, func(t *testing.T) {
			load := "load " + test.Interval.String() + "\n"
			for _, input := range test.InputSeries {
				load += "  " + input.Series + " " + input.Values + "\n"
			}
			suite, err := promqltest.NewLazyLoader(load, promqltest.LazyLoaderOpts{})
			if err != nil {
				t.Fatal(err)
			}
			defer suite.Close()
			groups := loadRules(t, &rules.ManagerOptions{
				QueryFunc:  rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
				Appendable: suite.Storage(),
			}, labels.FromMap(test.ExternalLabels))
			now, step := time.Unix(0, 0).UTC(), time.Duration(tests.EvaluationInterval)
			for _, check := range test.AlertRuleTest {
				for until := time.Unix(0, 0).Add(time.Duration(check.EvalTime)); !now.After(until); now = now.Add(step) {
					suite.WithSamplesTill(now, func(err error) {
						if err != nil {
							t.Fatal(err)
						}
						for _, group := range groups {
							group.Eval(suite.Context(), now)
						}
					})
				}
				got := firing(t, groups, check.Alertname)
				byJob := func(a, b expectedAlert) int { return strings.Compare(a.ExpLabels["job"], b.ExpLabels["job"]) }
				slices.SortStableFunc(got, byJob) // Prometheus promises no order
				slices.SortStableFunc(check.ExpAlerts, byJob)
				if !slices.EqualFunc(got, check.ExpAlerts, func(a, b expectedAlert) bool {
					return maps.Equal(a.ExpLabels, b.ExpLabels) && maps.Equal(a.ExpAnnotations, b.ExpAnnotations)
				}) {
					t.Errorf("%s after %s:\n%v\nwant\n%v", check.Alertname, check.EvalTime, got, check.ExpAlerts)
				}
				fired[check.Alertname] = fired[check.Alertname] || len(got) > 0
			}
		})
	}
	for _, rule := range alertingRules(loadRules(t, &rules.ManagerOptions{}, labels.EmptyLabels())) {
		if !fired[rule.Name()] {
			t.Errorf("%s: no test in which it fires", rule.Name())
		}
	}
}

// loadRules loads the alerts as Prometheus itself does.
func loadRules(t *testing.T, o *rules.ManagerOptions, external labels.Labels) map[string]*rules.Group {
	t.Helper()
	o.Context, o.Logger, o.Parser = t.Context(), slog.New(slog.DiscardHandler), parser.NewParser(parser.Options{})
	o.NotifyFunc = func(context.Context, string, ...*rules.Alert) {}
	file := repo.Path("conf/prometheus/alerts.yaml")
	groups, errs := rules.NewManager(o).LoadGroups(15*time.Second, external, "", nil, false, file)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, rule := range alertingRules(groups) {
		rule.SetRestored(true)
	}
	return groups
}

func alertingRules(groups map[string]*rules.Group) (all []*rules.AlertingRule) {
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, groups[name].AlertingRules()...)
	}
	return all
}

// firing returns the firing alerts of a rule.
func firing(t *testing.T, groups map[string]*rules.Group, name string) (alerts []expectedAlert) {
	for _, rule := range alertingRules(groups) {
		if err := rule.LastError(); err != nil {
			t.Errorf("%s: %v", rule.Name(), err)
		}
		if rule.Name() != name {
			continue
		}
		rule.ForEachActiveAlert(func(alert *rules.Alert) {
			if alert.State == rules.StateFiring {
				without := alert.Labels.Map()
				delete(without, labels.AlertName)
				alerts = append(alerts, expectedAlert{without, alert.Annotations.Map()})
			}
		})
	}
	return alerts
}
