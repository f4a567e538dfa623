package log

import "github.com/prometheus/client_golang/prometheus"

// metrics of one open log; names are stable.
type metrics struct {
	size, publishedSize, publishedAt, halted  prometheus.Gauge
	entries, refusedCommits, roundsUnmet      prometheus.Counter
	evidenceDropped                           prometheus.Counter
	batchEntries                              prometheus.Histogram
	commitSeconds, guardSeconds, roundSeconds prometheus.Histogram
	cosignatures, evidence                    *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, pooled func() float64) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "escortlog_log_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "escortlog_log_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "escortlog_log_" + name, Help: help}, []string{label})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "escortlog_log_" + name, Help: help, Buckets: buckets})
	}
	seconds := prometheus.ExponentialBuckets(0.0001, 2, 18)
	m := &metrics{
		size:            gauge("size_leaves", "Leaves committed."),
		publishedSize:   gauge("published_size_leaves", "Size of the newest published checkpoint."),
		publishedAt:     gauge("published_timestamp_seconds", "When the newest checkpoint was published, Unix time."),
		halted:          gauge("halted", "1 when commits and signatures are refused."),
		entries:         counter("entries_total", "Leaves committed since the start."),
		refusedCommits:  counter("refused_commits_total", "Commits refused by the store with nothing applied."),
		roundsUnmet:     counter("cosigning_rounds_unmet_total", "Rounds that ended without a quorum."),
		evidenceDropped: counter("evidence_dropped_total", "Records of evidence dropped because too many came at once."),
		batchEntries:    histogram("batch_entries", "Leaves in one commit.", prometheus.ExponentialBuckets(1, 4, 9)),
		commitSeconds:   histogram("commit_seconds", "Time of one commit, hashing included.", seconds),
		guardSeconds:    histogram("guard_seconds", "Time to write the guard.", seconds),
		roundSeconds:    histogram("cosigning_round_seconds", "Time from signing to the quorum.", seconds),
		cosignatures:    counters("cosignatures_total", "Verified cosignatures, by witness.", "witness"),
		evidence:        counters("evidence_total", "Records of evidence kept, by kind.", "kind"),
	}
	if r != nil {
		r.MustRegister(m.size, m.publishedSize, m.publishedAt, m.halted, m.entries, m.refusedCommits, m.roundsUnmet,
			m.evidenceDropped, m.batchEntries, m.commitSeconds, m.guardSeconds, m.roundSeconds, m.cosignatures, m.evidence,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "escortlog_log_pool_entries", Help: "Submissions waiting."}, pooled))
	}
	return m
}
