package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetricsAreServedWhileItMonitors(t *testing.T) {
	registry := prometheus.NewRegistry()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "some_gauge"})
	registry.MustRegister(gauge)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	broken := errors.New("the work is over")
	err = serveMetrics(t.Context(), listener, registry, func(ctx context.Context) error {
		for path, want := range map[string]string{"/metrics": "some_gauge 0", "/healthz": "ok"} {
			resp, err := http.Get(url + path)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err != nil || !strings.Contains(string(body), want) {
				return fmt.Errorf("%s: %q, %w", path, body, err)
			}
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// Every log of the policy that has a URL is followed, each once.
func TestTargets(t *testing.T) {
	seed := rand.NewChaCha8([32]byte{7})
	line := func(origin string, alg checkpoint.Algorithm, url string) string {
		s, err := checkpoint.GenerateSigner(origin, alg, seed)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace("log "+s.VKey()+" "+url) + "\n"
	}
	one := line("one.example", checkpoint.AlgEd25519, "https://one.example/") + line("one.example", checkpoint.AlgMLDSA44, "https://one.example")
	two := line("two.example", checkpoint.AlgEd25519, "https://two.example")
	bare := line("bare.example", checkpoint.AlgEd25519, "")
	for _, c := range []struct{ policy, log, want string }{
		{one, "", "one.example at https://one.example"},
		{one + two, "", "one.example at https://one.example, two.example at https://two.example"},
		{one + two, "https://two.example/", "two.example at https://two.example"},
		{one + two + bare, "", "one.example at https://one.example, two.example at https://two.example"},
		{one + two, "https://three.example", "error"},
		{bare, "", "error"},
		{bare, "https://bare.example", "bare.example at https://bare.example"},
	} {
		policy, err := checkpoint.ParsePolicy([]byte(c.policy + "quorum none\n"))
		if err != nil {
			t.Fatal(err)
		}
		targets, err := targetsOf(policy, c.log)
		var got []string
		for _, x := range targets {
			got = append(got, x.Origin+" at "+x.URL)
		}
		if err != nil {
			got = []string{"error"}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("--log %q: %s, want %s (%v)", c.log, text, c.want, err)
		}
	}
}
