package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/checkpoint"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/escortlog/escortlog/log/event"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/mod/sumdb/tlog"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"escortlogd": main, "panics": panics})
}

// panics is the program with one command more, which panics.
func panics() {
	root := newRootCommand()
	root.AddCommand(&cobra.Command{Use: "now", RunE: func(*cobra.Command, []string) error { panic("the sky fell") }})
	os.Exit(run(root, os.Args[1:]))
}

// patience is how long a script waits for what must happen.
const patience = 60 * time.Second

// TestScripts runs the commands as people type them. Beside testscript's own
// commands there are:
//
//	exits CODE COMMAND...      runs a command that must exit with CODE; its output
//	                           is for stdout and stderr
//	await FILE                 waits for a file to appear
//	http METHOD PATH STATUS [NAME:VALUE]... [@BODY]
//	                           asks the server whose address is in the file listen,
//	                           over TLS when there is a file cert.pem; the answer's
//	                           body is for stdout
//	register SOURCE KEY OUT    signs with admin.key of the directory d the event that
//	                           registers KEY
//	event SOURCE KEY ID TEXT OUT
//	                           signs an event
//	makecert CERT KEY [CA CAKEY]
//	                           makes a certificate
//	url                        sets $URL to that of the server in the file listen
//	witnesskeys NAME FILE      writes the verifier keys of a witness, one a line
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "await": await, "http": request, "register": register, "event": signEvent, "makecert": makeCert, "witnesskeys": witnessKeys, "url": setURL,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exit := (*exec.ExitError)(nil); err != nil {
		var ok bool
		if exit, ok = err.(*exec.ExitError); !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", code, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never appeared", args[0])
		}
	}
}

func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: http METHOD PATH STATUS [NAME:VALUE]... [@BODY]")
	}
	client, scheme := httpClient(ts)
	defer client.CloseIdleConnections()
	var body io.Reader
	header := make(http.Header)
	for _, arg := range args[3:] {
		if file, ok := strings.CutPrefix(arg, "@"); ok {
			body = strings.NewReader(ts.ReadFile(file))
			continue
		}
		name, value, _ := strings.Cut(arg, ":")
		header.Add(name, value)
	}
	req, err := http.NewRequest(args[0], scheme+strings.TrimSpace(ts.ReadFile("listen"))+args[1], body)
	ts.Check(err)
	req.Header = header
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if strconv.Itoa(resp.StatusCode) != args[2] {
		ts.Fatalf("status %d, want %s: %s", resp.StatusCode, args[2], answer)
	}
	_, err = ts.Stdout().Write(answer)
	ts.Check(err)
}

// httpClient trusts cert.pem where there is one, and shows client.pem where
// there is one.
func httpClient(ts *testscript.TestScript) (*http.Client, string) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	cert, err := os.ReadFile(ts.MkAbs("cert.pem"))
	if err != nil {
		return client, "http://"
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(cert)
	if _, err := os.Stat(ts.MkAbs("client.pem")); err == nil {
		pair, err := tls.LoadX509KeyPair(ts.MkAbs("client.pem"), ts.MkAbs("client.key"))
		ts.Check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	client.Transport = &http.Transport{TLSClientConfig: config}
	return client, "https://"
}

// sourceKey makes the key of that name, the same each time.
func sourceKey(name string) crypto.Signer {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

func setURL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: url")
	}
	ts.Setenv("URL", "http://"+strings.TrimSpace(ts.ReadFile("listen")))
}

func register(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: register SOURCE KEY OUT")
	}
	client, scheme := httpClient(ts)
	defer client.CloseIdleConnections()
	resp, err := client.Get(scheme + strings.TrimSpace(ts.ReadFile("listen")) + "/v1/log")
	ts.Check(err)
	defer resp.Body.Close()
	var info struct {
		Origin    string
		Authority struct{ Prev string }
	}
	ts.Check(json.NewDecoder(resp.Body).Decode(&info))
	prev, err := hex.DecodeString(info.Authority.Prev)
	ts.Check(err)
	public, err := event.NewPublicKey(sourceKey(args[1]).Public())
	ts.Check(err)
	payload, err := event.NewKeyRegistered(
		event.Header{ID: randomID(), Time: time.Now(), Origin: info.Origin, Prev: tlog.Hash(prev)},
		event.KeyRegistration{Key: public, Source: args[0]})
	ts.Check(err)
	admin, err := event.ParsePrivateKeyPEM([]byte(ts.ReadFile("d/admin.key")))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), envelope(ts, payload, admin), 0o600))
}

func randomID() string {
	var random [10]byte
	rand.Read(random[:])
	return event.NewUUIDv7(time.Now().UnixMilli(), random)
}

func envelope(ts *testscript.TestScript, payload []byte, key crypto.Signer) []byte {
	sig, err := event.Sign(key, entry.PayloadType, payload)
	ts.Check(err)
	return (&entry.Envelope{PayloadType: entry.PayloadType, Payload: payload, Signatures: []entry.Signature{sig}}).Marshal()
}

func signEvent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: event SOURCE KEY ID TEXT OUT")
	}
	payload, err := event.Build(event.Attributes{
		ID: args[2], Source: args[0], Type: event.Prefix + "session.paused.v1", Subject: "session/s-1", Time: time.UnixMilli(1_700_000_000_000),
	}, map[string]any{"session_id": "s-1", "reason": args[3], "paused_by": nil})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[4]), envelope(ts, payload, sourceKey(args[1])), 0o600))
}

func makeCert(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 4 {
		ts.Fatalf("usage: makecert CERT KEY [CA CAKEY]")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: args[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, crypto.Signer(key)
	if len(args) == 4 {
		pair, err := tls.LoadX509KeyPair(ts.MkAbs(args[2]), ts.MkAbs(args[3]))
		ts.Check(err)
		parent, signer = pair.Leaf, pair.PrivateKey.(crypto.Signer)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	ts.Check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	write := func(name, typ string, der []byte) {
		var b bytes.Buffer
		ts.Check(pem.Encode(&b, &pem.Block{Type: typ, Bytes: der}))
		ts.Check(os.WriteFile(ts.MkAbs(name), b.Bytes(), 0o600))
	}
	write(args[0], "CERTIFICATE", der)
	write(args[1], "PRIVATE KEY", pkcs8)
}

func witnessKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: witnesskeys NAME FILE")
	}
	var lines []byte
	for _, alg := range []checkpoint.Algorithm{checkpoint.AlgCosignEd25519, checkpoint.AlgMLDSA44} {
		s, err := checkpoint.GenerateSigner(args[0], alg, rand.Reader)
		ts.Check(err)
		lines = append(lines, s.VKey()+"\n"...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), lines, 0o600))
}

// TestSettingsName checks that every key of the configuration is a flag of some
// command, and every flag that is not for the command line alone a key.
func TestSettingsName(t *testing.T) {
	flags := make(map[string]bool)
	for _, c := range newRootCommand().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !config.IsCommandLineOnly(f) && f.Name != "help" {
				flags[f.Name] = true
			}
		})
	}
	var keys []string
	for i := range reflect.TypeFor[settings]().NumField() {
		keys = append(keys, reflect.TypeFor[settings]().Field(i).Tag.Get("yaml"))
	}
	for _, k := range keys {
		if !flags[k] {
			t.Errorf("key %q is no flag", k)
		}
		delete(flags, k)
	}
	for f := range flags {
		t.Errorf("flag --%s is no key", f)
	}
}
