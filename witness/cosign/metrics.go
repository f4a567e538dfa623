package cosign

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "escortlog_witness_requests_total",
			Help: "Requests for cosignatures by witness and outcome: cosigned, mirrored (a mirror cosigned its copy), conflict (it told its size), failed, timeout.",
		}, []string{"witness", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "escortlog_witness_seconds", Help: "Time from asking a witness to its verified cosignature.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"witness"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}
