package resp

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/replicatedstore/replicatedstore/node/latency"
)

var (
	descClients = prometheus.NewDesc("replicatedstore_clients", "Client connections open now.", nil, nil)
	descMax     = prometheus.NewDesc("replicatedstore_clients_limit", "Maximum number of client connections.", nil, nil)
	descConns   = prometheus.NewDesc("replicatedstore_client_connections_total",
		"Client connections by result: accepted, or refused because of the limit.", []string{"result"}, nil)
	descBytes = prometheus.NewDesc("replicatedstore_client_bytes_total",
		"Bytes received from and sent to clients.", []string{"direction"}, nil)
	descCommands = prometheus.NewDesc("replicatedstore_commands_total",
		"Commands executed, by family (string, generic, connection, ...) and kind (read, write, other).", []string{"family", "kind"}, nil)
	descRefused = prometheus.NewDesc("replicatedstore_commands_refused_total",
		"Commands that were answered with an error without being run.", []string{"family"}, nil)
	descErrors  = prometheus.NewDesc("replicatedstore_error_replies_total", "Error replies by their code.", []string{"code"}, nil)
	descUnknown = prometheus.NewDesc("replicatedstore_outcome_unknown_total",
		"Pipelines whose writes were answered with an unknown outcome.", nil, nil)
	descProtocol   = prometheus.NewDesc("replicatedstore_protocol_errors_total", "Connections closed for breaking the protocol.", nil, nil)
	descOutput     = prometheus.NewDesc("replicatedstore_output_limit_total", "Connections closed for exceeding the output limit.", nil, nil)
	descForwarding = prometheus.NewDesc("replicatedstore_forwarding_clients", "Client connections whose commands are forwarded to the leader, each on a connection of its own.", nil, nil)
	descForwarded  = prometheus.NewDesc("replicatedstore_forwarded_commands_total", "Client commands that were forwarded to the leader.", nil, nil)
	descLatency    = prometheus.NewDesc("replicatedstore_command_duration_seconds",
		"Time from a command's arrival to its reply, including the wait for the commit; the commands of a pipeline share one.",
		[]string{"kind"}, nil)
)

// Collector returns a collector of the server's metrics, for the node's registry.
func (s *Server) Collector() prometheus.Collector { return collector{s} }

type collector struct{ srv *Server }

func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descClients, descMax, descConns, descBytes, descCommands, descRefused, descErrors,
		descUnknown, descProtocol, descOutput, descForwarding, descForwarded, descLatency} {
		out <- d
	}
}

func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.srv.stats
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	out <- prometheus.MustNewConstMetric(descClients, prometheus.GaugeValue, float64(c.srv.clients.count()))
	out <- prometheus.MustNewConstMetric(descMax, prometheus.GaugeValue, float64(c.srv.maxClients.Load()))
	counter(descConns, s.accepted.Load(), "accepted")
	counter(descConns, s.refused.Load(), "refused")
	counter(descBytes, s.received.Load(), "received")
	counter(descBytes, s.sent.Load(), "sent")
	counter(descUnknown, s.unknown.Load())
	counter(descProtocol, s.protocolErrors.Load())
	counter(descOutput, s.outputLimit.Load())
	counter(descForwarded, s.forwarded.Load())
	out <- prometheus.MustNewConstMetric(descForwarding, prometheus.GaugeValue, float64(s.forwarding.Load()))
	codes, _ := s.errorCodes()
	for code, n := range codes {
		counter(descErrors, n, code)
	}
	c.families(counter)
	for kind, h := range map[string]*latency.Histogram{"read": &s.reads, "write": &s.writes} {
		count, sum, buckets := h.Cumulative()
		out <- prometheus.MustNewConstHistogram(descLatency, count, sum, buckets, kind)
	}
}

func (c collector) families(counter func(*prometheus.Desc, uint64, ...string)) {
	type family struct{ name, kind string }
	calls, refused := map[family]uint64{}, map[string]uint64{}
	c.srv.table.each(func(cmd *command) {
		kind := "other"
		switch {
		case cmd.has(flagWrite):
			kind = "write"
		case cmd.has(flagReadonly):
			kind = "read"
		}
		calls[family{cmd.group, kind}] += cmd.calls.Load()
		refused[cmd.group] += cmd.rejected.Load()
	})
	for f, n := range calls {
		counter(descCommands, n, f.name, f.kind)
	}
	for group, n := range refused {
		counter(descRefused, n, group)
	}
}
