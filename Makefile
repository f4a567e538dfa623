# Every target is one command that works in a fresh clone with Go alone (race wants gcc besides). CI calls only these.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# No cgo anywhere but in the race detector. No version stamp: a clone's git data may belong to somebody else, and
# then the go command would refuse to build.
export CGO_ENABLED := 0
export GOFLAGS := $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false
# Nor does a workspace file in a folder above have a say.
export GOWORK := off

PKGS      := ./...
# How long or how often each Fuzz target runs. A count never meets a deadline in the middle of an input.
FUZZTIME  := 10000x
BENCH     := .
BENCHTIME := 1s
# The rooms with goroutines of their own.
RACEPKGS  := ./log ./log/server/... ./storage/... ./client/... ./witness/...
# Flags for a single run, as in: make test TESTFLAGS='-run Policy -v'
TESTFLAGS :=

.PHONY: help
help: ## print these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: fetch
fetch: ## download every module that the other targets use
	go list -deps -test -tags e2e ./... >/dev/null
	go list -modfile=.ci/tools.mod -deps tool >/dev/null
	go -C testdata/foreign list -deps ./... tool >/dev/null

.PHONY: build
build: ## build the programs into bin/
	@mkdir -p bin
	go build -trimpath -o bin/ ./cmd/...

.PHONY: test
test: ## run the ordinary tests
	go test -timeout 15m $(TESTFLAGS) $(PKGS)

.PHONY: race
race: ## run the tests of concurrent rooms under the race detector
	CGO_ENABLED=1 go test -race -short -timeout 20m $(TESTFLAGS) $(RACEPKGS)

.PHONY: fuzz
fuzz: ## run every Fuzz target for a moment (FUZZTIME=30s for longer)
	@.ci/fuzz '$(FUZZTIME)'

.PHONY: e2e
e2e: ## run the real programs against each other and against foreign ones
	@.ci/e2e $(TESTFLAGS)

# How often the power goes, and how many runs have a failing disk. make e2e does a tenth of it.
POWER_CUTS  := 200
DISK_FAULTS := 120
# How many pages are zeroed, and bits flipped, of each file of a log.
DAMAGES := 20

.PHONY: torture
torture: ## cut the power under the real programs, break their disk (needs root and /dev/fuse), damage every file
	ESCORTLOG_POWER_CUTS=$(POWER_CUTS) ESCORTLOG_DISK_FAULTS=$(DISK_FAULTS) ESCORTLOG_DAMAGES=$(DAMAGES) \
		go test -tags e2e -run '^TestE2ETorture' -count 1 -p 1 -v -timeout 60m $(TESTFLAGS) ./storage/internal/torture ./cmd/escortlogd

.PHONY: bench
bench: ## run the benchmarks (BENCH=regexp BENCHTIME=3s)
	go test -run '^$$' -bench '$(BENCH)' -benchtime '$(BENCHTIME)' -benchmem -timeout 30m $(PKGS)

.PHONY: bench-witness
bench-witness: ## the witness against raw signing, raw fsync and litewitness, with ratios
	go test -tags e2e -run '^$$' -bench E2EWitness -benchtime 1x -timeout 30m ./cmd/escortwitness

# Which of the comparisons, as in: make bench-peers PEERS='Append|Lone', and how often each is measured.
PEERS    := .
ROUNDS   := 5
# A directory for CPU profiles of both sides of PEERS=Append and PEERS=Lone.
PROFILES :=

.PHONY: bench-peers
bench-peers: ## the log against Tessera, raw hashing, raw verification and raw fsync, in turn, with ratios
	ESCORTLOG_PEER_ROUNDS='$(ROUNDS)' ESCORTLOG_PEER_PROFILE='$(PROFILES)' \
		go test -tags e2e -run '^$$' -bench 'Peer($(PEERS))' -benchtime 1x -timeout 3h ./cmd/internal/e2e

BIG := 10000000

.PHONY: bench-big
bench-big: ## a log of ten million entries: appends, start after kill -9, memory, reads, fsck (BIG=1000000)
	ESCORTLOG_BIG='$(BIG)' go test -tags e2e -run '^$$' -bench '^BenchmarkBig$$' -benchtime 1x -timeout 3h ./cmd/internal/e2e

.PHONY: bench-backup
bench-backup: ## back up, restore and check a log of a million entries
	ESCORTLOG_BACKUP_LEAVES=1000000 go test -tags e2e -run '^TestE2ELargeBackup$$' -count 1 -v -timeout 60m ./cmd/escortlogd

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, errcheck, ineffassign, unparam
	@.ci/lint

.PHONY: demo
demo: ## a log, three witnesses, and an operator who rewrites history
	go run ./cmd/escortlog-demo

.PHONY: run
run: ## the same, and stay up afterwards
	go run ./cmd/escortlog-demo --stay

.PHONY: generate
generate: ## make the generated files of testdata anew
	go generate ./...

.PHONY: generated
generated: ## fail when make generate would change a file
	@.ci/generated

.PHONY: clean
clean: ## remove what build made
	rm -rf bin
