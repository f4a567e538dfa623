package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/escortlog/escortlog/client"
	"github.com/escortlog/escortlog/cmd/internal/config"
	"github.com/escortlog/escortlog/log/entry"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
)

type discloseOptions struct {
	leaf     string
	envelope string
	kept     string
	pointers []string
	output   string
}

func newDiscloseCommand() *cobra.Command {
	var o discloseOptions
	cmd := &cobra.Command{
		Use:   "disclose --kept FILE.jsonl (--leaf FILE | --envelope FILE) [--pointer POINTER]... -o FILE.jsonl",
		Short: "Open commitments in an event for somebody who may see them",
		Long: `Events hold commitments in place of commands, justifications and the like:
{"$commit":"sha256:…","size":n}. Salt, at least 16 random bytes, and content stay with
the submitter; n is the length of the content, and the digest is the SHA-256 of

  "escortlog commitment v1" and a line feed,
  the length of the salt in 8 bytes, big-endian, the salt, and the content.

This takes them from what the submitter kept, makes sure that
they open the commitments in this event, and writes a disclosure file, which
"escortlog verify --disclosure" holds against the leaf. The other commitments stay
closed: a salt opens nothing but its own.

The file that is kept has a JSON object on each line, as the disclosure file does:
{"commitment":{"$commit":"sha256:…","size":n},"salt":"base64","content":"base64"}

Whoever gets a disclosure file can show it to others. It holds what the log does not.`,
		Example: `  escortlog disclose --kept kept.jsonl --leaf receipts/7.leaf --pointer /data/command -o command.jsonl
  escortlog verify --policy policy.txt --leaf receipts/7.leaf --disclosure command.jsonl receipts/7.tlog-proof`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.kept, "kept", "", "`file` with salts and contents, as the submitter kept them; - is standard input")
	f.StringVar(&o.leaf, "leaf", "", "`file` with the leaf, as submit --receipts keeps it")
	f.StringVar(&o.envelope, "envelope", "", "`file` with the signed DSSE envelope, in place of --leaf")
	f.StringArrayVar(&o.pointers, "pointer", nil, "JSON `pointer` of a commitment in the event, as /data/command; may be repeated (default: all that were kept)")
	f.StringVarP(&o.output, "output", "o", "", "`file` to write the disclosures to, readable by its owner alone; - is standard output")
	config.CommandLineOnly(cmd, "kept", "leaf", "envelope", "pointer", "output")
	return cmd
}

func (o *discloseOptions) run(cmd *cobra.Command) error {
	switch {
	case o.kept == "":
		return usageErrorf("nothing to disclose: give --kept FILE with salts and contents")
	case (o.leaf == "") == (o.envelope == ""):
		return usageErrorf("give --leaf FILE or --envelope FILE: the event whose commitments are to be opened")
	case o.output == "":
		return usageErrorf("no file to write the disclosures to: give -o FILE")
	}
	kept, err := readDisclosures(cmd.InOrStdin(), o.kept)
	if err != nil {
		return err
	}
	e, hash, err := o.entry()
	if err != nil {
		return err
	}
	list, err := client.Disclose(e, hash, kept, o.pointers...)
	if err != nil {
		return withCode(exitUsage, err)
	}
	var out bytes.Buffer
	if err := client.WriteDisclosures(&out, list); err != nil {
		return err
	}
	if o.output == "-" {
		_, err = cmd.OutOrStdout().Write(out.Bytes())
		return err
	}
	return createFile(o.output, out.Bytes(), 0o600)
}

// entry reads the event. The hash of its leaf is known where the leaf is.
func (o *discloseOptions) entry() (*entry.Entry, *tlog.Hash, error) {
	if o.leaf != "" {
		leaf, err := readFile(nil, o.leaf, entry.MaxSize)
		if err != nil {
			return nil, nil, err
		}
		e, err := entry.Parse(leaf)
		if err != nil {
			return nil, nil, usageErrorf("%s: %w", o.leaf, err)
		}
		hash := entry.LeafHash(leaf)
		return e, &hash, nil
	}
	text, err := readFile(nil, o.envelope, maxEnvelopeFile)
	if err != nil {
		return nil, nil, err
	}
	v, err := entry.ParseEnvelope(text)
	if err != nil {
		return nil, nil, usageErrorf("%s: %w", o.envelope, err)
	}
	return v.Entry(0), nil, nil
}

// maxDisclosureFile bounds a disclosure file, in bytes.
const maxDisclosureFile = 256 << 20

func readDisclosures(stdin io.Reader, name string) ([]client.Disclosure, error) {
	text, err := readFile(stdin, name, maxDisclosureFile)
	if err != nil {
		return nil, err
	}
	list, err := client.ParseDisclosures(bytes.NewReader(text))
	if err != nil {
		return nil, usageErrorf("%s: %w", name, err)
	}
	if len(list) == 0 {
		return nil, usageErrorf("%s holds no disclosure", name)
	}
	return list, nil
}

// printCommitted says of each commitment whether its content was disclosed.
func printCommitted(p *printer, list []client.Committed) {
	for _, c := range list {
		switch {
		case c.Disclosed:
			p.line("disclosed", "%s, %d bytes: %q", c.Pointer, c.Commitment.Size, shorten(c.Content))
		default:
			p.line("withheld", "%s: present, content withheld (%d bytes, %s)", c.Pointer, c.Commitment.Size, c.Commitment.Digest)
		}
	}
}

// maxShownContent bounds how much of a disclosed content is shown to people, in
// bytes; --json gives all of it.
const maxShownContent = 4 << 10

func shorten(content []byte) string {
	if len(content) <= maxShownContent {
		return string(content)
	}
	return fmt.Sprintf("%s… and %d bytes more", content[:maxShownContent], len(content)-maxShownContent)
}
