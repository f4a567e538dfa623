package rules

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for default.yaml
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/mod/sumdb/tlog"
)

//go:embed default.yaml
var defaultFile []byte

// DefaultFile returns the text of the rules built in, with a comment on each
// setting: a rules file to begin with.
func DefaultFile() []byte { return bytes.Clone(defaultFile) }

// Duration is a time.Duration written as in "15m".
type Duration time.Duration

// UnmarshalYAML reads what time.ParseDuration reads.
func (d *Duration) UnmarshalYAML(b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration such as 90s, 15m or 24h", s)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) of() time.Duration { return time.Duration(d) }

// String writes the duration without parts that are zero.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Config is a rules file. The file default.yaml explains every member and holds
// what stands where a file says nothing.
type Config struct {
	Version             int                 `yaml:"version"`
	Late                Duration            `yaml:"late"`
	RecordedWithin      Duration            `yaml:"recorded_within"`
	Future              Duration            `yaml:"future"`
	Overstay            Duration            `yaml:"overstay"`
	AllowedPipelines    []string            `yaml:"allowed_pipelines"`
	EmergencyApproval   Duration            `yaml:"emergency_approval"`
	Presence            Duration            `yaml:"presence"`
	EscortSessions      int                 `yaml:"escort_sessions"`
	EscortRoles         []string            `yaml:"escort_roles"`
	Citizenship         map[string][]string `yaml:"citizenship"`
	NeverEscorted       []string            `yaml:"never_escorted"`
	CoveredCountries    []string            `yaml:"covered_countries"`
	Travel              Duration            `yaml:"travel"`
	ReviewPerLine       Duration            `yaml:"review_per_line"`
	CommandsPerMinute   int                 `yaml:"commands_per_minute"`
	ScriptMediaTypes    []string            `yaml:"script_media_types"`
	ScriptMemory        Duration            `yaml:"script_memory"`
	Shopping            Duration            `yaml:"shopping"`
	Attestation         Duration            `yaml:"attestation"`
	SecondReview        Duration            `yaml:"second_review"`
	RecordingCoverage   float64             `yaml:"recording_coverage"`
	RecordingFinal      Duration            `yaml:"recording_final"`
	SessionOpen         Duration            `yaml:"session_open"`
	Heartbeats          float64             `yaml:"heartbeats"`
	CorrectionForbidden map[string][]string `yaml:"correction_forbidden"`
	SessionMemory       Duration            `yaml:"session_memory"`
	ChangeMemory        Duration            `yaml:"change_memory"`
	MaxFindings         int                 `yaml:"max_findings"`
	Disable             []string            `yaml:"disable"`
	CELCost             uint64              `yaml:"cel_cost"`
	Rules               []Own               `yaml:"rules"`

	digest   tlog.Hash
	compiled []*ownRule
}

// Own is an organisation's own rule; see default.yaml.
type Own struct {
	ID          string   `yaml:"id"`
	Description string   `yaml:"description"`
	Severity    string   `yaml:"severity"`
	Types       []string `yaml:"types"`
	Where       string   `yaml:"where"`
	FailWhen    string   `yaml:"fail_when"`
}

// Digest returns the SHA-256 of the file, as "sha256:" and hex.
func (c *Config) Digest() string { return "sha256:" + hex.EncodeToString(c.digest[:]) }

// Default returns the rules built in.
func Default() *Config { return builtIn() }

var builtIn = sync.OnceValue(func() *Config {
	c, err := Parse(nil)
	if err != nil {
		panic(err) // a test reads the file that is built in
	}
	c.digest = sha256.Sum256(defaultFile)
	return c
})

// Parse reads a rules file: YAML, in which unknown keys are errors. What it does
// not say is as in [DefaultFile]; lists and maps are replaced as a whole.
func Parse(file []byte) (*Config, error) {
	var c Config
	if err := decode(defaultFile, &c); err != nil {
		return nil, fmt.Errorf("rules built in: %w", err)
	}
	var own Config
	if len(bytes.TrimSpace(file)) > 0 {
		// Maps are replaced, not merged: the decoder keeps what is in them.
		if err := decode(file, &own); err != nil {
			return nil, fmt.Errorf("rules file: %w", err)
		}
		if own.Citizenship != nil {
			c.Citizenship = nil
		}
		if own.CorrectionForbidden != nil {
			c.CorrectionForbidden = nil
		}
		if err := decode(file, &c); err != nil {
			return nil, fmt.Errorf("rules file: %w", err)
		}
	}
	c.digest = sha256.Sum256(file)
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("rules file: %w", err)
	}
	return &c, nil
}

func decode(file []byte, c *Config) error {
	return yaml.NewDecoder(bytes.NewReader(file), yaml.Strict()).Decode(c)
}

// severities there are, from the least.
var severities = []string{"info", "low", "medium", "high", "critical"}

func (c *Config) check() error {
	if c.Version != 1 {
		return fmt.Errorf("version %d is not known: 1 is", c.Version)
	}
	for name, d := range map[string]Duration{
		"late": c.Late, "recorded_within": c.RecordedWithin, "future": c.Future, "overstay": c.Overstay,
		"emergency_approval": c.EmergencyApproval, "presence": c.Presence, "travel": c.Travel,
		"review_per_line": c.ReviewPerLine, "shopping": c.Shopping, "attestation": c.Attestation,
		"second_review": c.SecondReview, "recording_final": c.RecordingFinal, "session_open": c.SessionOpen,
		"session_memory": c.SessionMemory, "change_memory": c.ChangeMemory, "script_memory": c.ScriptMemory,
	} {
		if d < 0 {
			return fmt.Errorf("%s: %s is below zero", name, d)
		}
	}
	switch {
	case c.EscortSessions < 0, c.CommandsPerMinute < 0, c.MaxFindings < 0:
		return errors.New("escort_sessions, commands_per_minute and max_findings are not below zero")
	case c.RecordingCoverage < 0 || c.RecordingCoverage > 100:
		return errors.New("recording_coverage is a percentage")
	case c.Heartbeats < 1:
		return errors.New("heartbeats is at least 1")
	}
	names := []string{}
	for _, r := range catalogue {
		names = append(names, r.Name)
	}
	for _, r := range c.Rules {
		if slices.Contains(names, r.ID) {
			return fmt.Errorf("rule %s: there is another rule of that id", r.ID)
		}
		names = append(names, r.ID)
	}
	for _, name := range c.Disable {
		if !slices.Contains(names, name) {
			return fmt.Errorf("disable: there is no rule %q", name)
		}
	}
	compiled, err := compileOwn(c)
	c.compiled = compiled
	return err
}

// matches reports whether s fits a pattern in which * stands for any
// characters.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

func matchesAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, s) })
}
