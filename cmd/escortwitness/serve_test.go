package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/escortlog/escortlog/witness/clients"
)

// Through a bastion each client has a budget of its own, and what is said of it cannot be made up by somebody before
// the bastion, which sends one header only.
func TestFromBastion(t *testing.T) {
	budget := clients.New(clients.Config{})
	for forwarded, want := range map[string]string{"192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::", "nonsense": "invalid IP", "": "invalid IP"} {
		r := httptest.NewRequest(http.MethodPost, "/add-checkpoint", nil)
		r.RemoteAddr = "203.0.113.1:443" // the bastion's
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		var got string
		fromBastion(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = budget.Addr(r).String() })).ServeHTTP(httptest.NewRecorder(), r)
		if got != want {
			t.Errorf("%q: charged to %s, want %s", forwarded, got, want)
		}
	}
}
