package vectors

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/escortlog/escortlog/cmd/internal/samples"
)

// sessions writes the unsigned payloads, one a line, and what they commit to.
func (f *files) sessions(s *sampleLog) {
	for name, events := range map[string][]samples.Event{"good": s.sessions.Good, "unattested": s.sessions.Unattested} {
		var b bytes.Buffer
		for _, e := range events {
			b.Write(e.Payload)
			b.WriteByte('\n')
		}
		f.bytes("sessions/"+name+".jsonl", b.Bytes())
	}
	var b bytes.Buffer
	for _, d := range s.sessions.Disclosures {
		b.Write(f.jsonLine(struct {
			Commit  any    `json:"commitment"`
			Salt    []byte `json:"salt"`
			Content []byte `json:"content"`
		}{d.Commitment, d.Salt, d.Content}))
	}
	f.bytes("sessions/disclosures.jsonl", b.Bytes())
}

// keys writes every sample key: FILE and FILE.pub as escortlog keygen does, and
// those of the log and its witnesses.
func (f *files) keys(s *sampleLog) {
	for _, a := range s.admins {
		f.keyPair(a.Name, a.Key)
	}
	for _, src := range s.sources {
		f.keyPair(src.Name, src.Key)
	}
	f.noteKeys("log", s.log)
	for _, w := range witnesses {
		f.noteKeys("witness-"+w.name, s.by[w.name])
	}
}

func (f *files) keyPair(name string, key crypto.Signer) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	f.fail(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	f.fail(err)
	// "Data before the encapsulation boundaries are permitted, and parsers MUST NOT malfunction when processing
	// such data" (RFC 7468 section 2).
	f.text("keys/"+name+".key", samples.Warning+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	f.bytes("keys/"+name+".key.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

func (f *files) noteKeys(name string, keys []*noteKey) {
	var vkeys strings.Builder
	for i, suffix := range []string{"ed25519", "mldsa44"} {
		f.text(fmt.Sprintf("keys/%s.%s.skey", name, suffix), keys[i].skey()+"\n")
		vkeys.WriteString(keys[i].vkey() + "\n")
	}
	f.text("keys/"+name+".vkeys", vkeys.String())
}
