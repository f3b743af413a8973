module example.com/grafana-tempo-go-demo/uservice1

go 1.26.0
