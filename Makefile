# The verbs of this house. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-build setup-tests setup-interop build run demo test test-peers e2e torture fuzz check boundaries interop matrix soak crash bench dist
SHELL := /bin/bash
# Real-time media shares the machine with the tests around it, so not too many of them at once.
THREADS ?= 3
# One end-to-end test or some: make e2e T=hangs_up
T ?=
# How many calls a soak is: make soak RUNS=20
RUNS ?= 100
# Another folder of torture messages: make torture SET=<folder with expected.json>
SET ?=
# Options of the benchmark: make bench ARGS=--help
ARGS ?=
CORES := model sip media telegram routing

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: setup-tests ## install what building and testing need (apt as root, else the line to type)
setup-build:
	@tests/setup.sh build
setup-tests:
	@tests/setup.sh tests
setup-interop:
	@tests/setup.sh interop

build: setup-build ## debug build
	cargo build

run: setup-build ## run with config/strowger.toml
	cargo run -- --config config/strowger.toml run

demo: setup-build ## build, then let a test phone and a simulated Telegram user talk, on loopback
	cargo build
	@target/debug/strowger demo

test: setup-tests ## set up and run all tests: the rooms', the peers' own, end to end
	cargo test --workspace
	@$(MAKE) --no-print-directory test-peers
	@$(MAKE) --no-print-directory e2e

test-%: ## tests of one room, e.g. make test-sip
	cargo test -p $*

test-peers: setup-tests ## the Telegram simulator's own tests
	cd tests/peers && ../netns.sh ../../target/peers-venv/bin/python -m pytest -q telegram_sim/tests

e2e: setup-tests ## the real binary against real peers, in a network namespace of its own
	cargo test --no-run --test e2e
	tests/netns.sh cargo test --offline --test e2e -- --test-threads $(THREADS) --skip interop:: $(T)

interop: setup-interop ## the same against Asterisk and Kamailio (needs root once, to make target/peers-root)
	cargo test --no-run --test e2e
	tests/netns.sh cargo test --offline --test e2e -- --test-threads $(THREADS) interop::

matrix: setup-tests ## calls as caller and callee by every library version: direct, TURN only, reflector only; target/matrix.json
	cargo test --no-run --test e2e
	tests/netns.sh cargo test --offline --test e2e -- --ignored --nocapture matrix::

soak: setup-tests ## RUNS=100 calls by the direct way, versions and roles mixed: audio within 2 s of the key in 99 of 100; target/soak.json
	cargo test --no-run --test e2e
	RUNS=$(RUNS) tests/netns.sh cargo test --offline --test e2e -- --ignored --nocapture soak::

ROUNDS ?= 20
crash: setup-tests ## kill -9 at random moments under load, ROUNDS=20: nothing acknowledged lost, nobody left in a call; target/crash.json
	cargo test --no-run --test e2e
	CRASH_ROUNDS=$(ROUNDS) tests/netns.sh cargo test --offline --test e2e -- --nocapture crash::

torture: setup-build ## messages made to break SIP, SDP and RTP, each against its verdict: N of M a set; SET=<folder> for others
	@export $(if $(SET),TORTURE='$(abspath $(SET))',-n TORTURE); status=0; \
	cargo test -q -p sip --test torture -- --nocapture --test-threads 1 || status=1; \
	cargo test -q -p media --lib torture -- --nocapture || status=1; exit $$status

FUZZ := message:src/sip/testdata/torture stream:src/sip/testdata/torture sdp:src/sip/testdata/sdp \
	uri:fuzz/seeds/uri digest:fuzz/seeds/digest rtp:fuzz/seeds/rtp rtcp:fuzz/seeds/rtcp signalling:fuzz/seeds/signalling
fuzz: setup-build ## every fuzz target for 30 s, or T=seconds; what breaks one stays in target/fuzz/artifacts
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CURDIR)/target/fuzz; cargo fuzz build && for entry in $(FUZZ); do \
	  name=$${entry%%:*}; mkdir -p target/fuzz/corpus/$$name target/fuzz/artifacts/$$name; echo "== $$name"; \
	  cargo fuzz run $$name target/fuzz/corpus/$$name $${entry#*:} -- -max_total_time=$(if $(T),$(T),30) -timeout=5 -max_len=16384 \
	    -verbosity=0 -print_final_stats=1 -artifact_prefix=target/fuzz/artifacts/$$name/ || exit 1; done

check: setup-build boundaries ## formatting, lints, walls, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --test e2e -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

boundaries: ## what the rooms must not know: clocks and sockets in the cores, actors below the actors
	@wall() { local tree; tree=$$(cargo tree -q -p "$$1" -e normal --prefix none) || exit 1; \
	  ! grep -E "^($$2) v" <<<"$$tree" || { echo "src/$$1 must not know these"; exit 1; }; }; \
	for room in $(CORES); do wall $$room 'tokio|mio|socket2|hyper|async-std|smol|actix[a-z-]*|actors|net|store|metrics|switch'; done; \
	wall metrics 'tokio|mio|socket2|hyper|actix[a-z-]*|actors|net|store|switch'; \
	wall store 'tokio|actix[a-z-]*|actors|net|switch'; wall net 'actix[a-z-]*|actors|store|routing|switch'; \
	tree=$$(cargo tree -q -p strowger -e normal,features --prefix none) || exit 1; \
	! grep -q '"chaos"' <<<"$$tree" || { echo "harm is for the tests alone"; exit 1; }; \
	tests/walls.sh $(CORES) metrics || exit 1; \
	echo "boundaries hold"

bench: setup-tests ## SIP alone (reading, calls and registrations a second), overload; cost of a call beside libopus alone; Telegram: setting up calls, idle accounts; ARGS=--sweep, --only telegram
	@status=0; cargo bench --bench calls -- $(ARGS) || status=$$?; \
	rm -f target/release/strowger; exit $$status # it has the door for harm, as all that tests build: build --release and dist make another

dist: setup-build ## release binary with its checksum in target/dist
	cargo build --release --locked
	mkdir -p target/dist && cp target/release/strowger target/dist/ && cd target/dist && strip strowger && sha256sum strowger > SHA256SUMS
