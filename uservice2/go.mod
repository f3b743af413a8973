module example.com/grafana-tempo-go-demo/uservice2

go 1.26.0
