package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics shows of the door and the surface.
type metrics struct {
	requests           *prometheus.CounterVec
	seconds            *prometheus.HistogramVec
	events             *prometheus.CounterVec
	proofFailures      prometheus.Counter
	connectionsRefused prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, s *Server) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "escortlog_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "escortlog_http_request_seconds", Help: "Time to answer a request, including the wait for a proof.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "escortlog_events_total", Help: "Events judged: logged, existing (logged before), or the slug of the problem.",
		}, []string{"result"}),
		proofFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "escortlog_proof_failures_total", Help: "Proofs that the server made and could not verify, and therefore did not send. Anything but 0 is an alarm.",
		}),
		connectionsRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "escortlog_connections_refused_total", Help: "Connections closed because as many were open as the server takes.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.seconds, m.events, m.proofFailures, m.connectionsRefused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "escortlog_submissions_in_flight", Help: "Submissions under way.",
		}, func() float64 { n, _ := s.limiter.load(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "escortlog_submission_bytes", Help: "Bytes of submitted bodies held.",
		}, func() float64 { _, n := s.limiter.load(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "escortlog_authority_covered", Help: "Index after the newest authority event in the key directory.",
		}, func() float64 { return float64(s.door.directory.Load().Covered()) }),
	} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// route returns a function that counts an answer of one route.
func (m *metrics) route(route string) func(status int, took time.Duration) {
	seconds := m.seconds.WithLabelValues(route)
	ok := m.requests.WithLabelValues(route, "200")
	return func(status int, took time.Duration) {
		seconds.Observe(took.Seconds())
		if status == http.StatusOK {
			ok.Inc()
			return
		}
		m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	}
}

// event counts the fate of one candidate.
func (m *metrics) event(c *candidate) {
	result := "logged"
	switch {
	case c.err != nil:
		result = toRefusal(c.err).slug
	case c.position.Existing:
		result = "existing"
	}
	m.events.WithLabelValues(result).Inc()
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Gatherer == nil {
		writeProblem(w, refuse("not-found", "This server shows no metrics."))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, r)
}
