package monitor

import "github.com/prometheus/client_golang/prometheus"

// metrics are what Prometheus is told. A log is named by its origin.
type metrics struct {
	findings   *prometheus.CounterVec
	conditions *prometheus.GaugeVec
	size       *prometheus.GaugeVec
	cosigned   *prometheus.GaugeVec
	rounds     *prometheus.CounterVec
	round      *prometheus.GaugeVec
	deliveries *prometheus.CounterVec
	waiting    *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "escortlog", Subsystem: "monitor", Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "escortlog", Subsystem: "monitor", Name: name, Help: help}, labels)
		r.MustRegister(g)
		return g
	}
	return &metrics{
		findings:   counter("findings_total", "Findings raised since the start.", "log", "kind", "severity"),
		conditions: gauge("conditions", "Conditions that hold now.", "kind"),
		size:       gauge("checkpoint_size", "Leaves of the newest checkpoint that was verified.", "log"),
		cosigned:   gauge("cosigned_timestamp_seconds", "Time of the newest cosignature of the log's checkpoint.", "log"),
		rounds:     counter("rounds_total", "Rounds by outcome: proven, findings, integrity, incomplete, unavailable.", "log", "outcome"),
		round:      gauge("round_timestamp_seconds", "When the last round ended.", "log"),
		deliveries: counter("deliveries_total", "Attempts to deliver a finding, by result.", "receiver", "result"),
		waiting:    gauge("waiting_bytes", "Bytes of the journal that the receiver was not told yet.", "receiver"),
	}
}

// report sets how many conditions hold.
func (m *metrics) report(holding map[string]int) {
	for _, kind := range []string{KindUnavailable, KindQuorum, KindStale, KindUnheard, KindWitnessStale, KindWitnessAhead, KindOmitted} {
		m.conditions.WithLabelValues(kind).Set(float64(holding[kind]))
	}
}
