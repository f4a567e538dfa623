package witness

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests   *prometheus.CounterVec   // by endpoint and status
	seconds    *prometheus.HistogramVec // by endpoint
	size       *prometheus.GaugeVec     // by origin
	evidence   *prometheus.CounterVec   // by kind
	logs       prometheus.Gauge
	listErrors prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "escortwitness_requests_total", Help: "Requests by endpoint and HTTP status.",
		}, []string{"endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "escortwitness_request_seconds", Help: "Time to answer a request.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"endpoint"}),
		size: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "escortwitness_log_size", Help: "Leaves of the latest cosigned checkpoint.",
		}, []string{"origin"}),
		evidence: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "escortwitness_evidence_total", Help: "Checkpoints signed by a log that contradict an earlier one, by kind, repetitions included.",
		}, []string{"kind"}),
		logs: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "escortwitness_logs", Help: "Logs in the log list.",
		}),
		listErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "escortwitness_log_list_errors_total", Help: "Times the log list could not be read.",
		}),
	}
	r.MustRegister(m.requests, m.seconds, m.size, m.evidence, m.logs, m.listErrors)
	for _, k := range []EvidenceKind{Fork, Rollback, EmptyRoot, Inconsistent} {
		m.evidence.WithLabelValues(string(k)) // zero from the start, so that a rise is seen
	}
	return m
}
