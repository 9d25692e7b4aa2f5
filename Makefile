# Everything is built outside the clone. `make test` is what CI runs.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/shunt/target

.PHONY: build setup demo test lint bench microbench soak

build:
	cargo build --release --locked --package shunt-cli

# Debian packages and servers that the tests need; does nothing where all is there.
setup:
	scripts/setup.sh

# The main job on throw-away servers: a move under live writes through the gateway, compared by mariadb-dump, switched and completed.
demo:
	scripts/setup.sh demo
	$(MAKE) --no-print-directory build
	scripts/demo.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked

# The binaries that whole-system tests start are built first, so that no test waits for a build.
test: setup lint
	cargo build --quiet --workspace --locked --bin shunt
	cargo build --quiet --workspace --locked --bin shunt-failpoints --features shunt-tests/failpoints
	if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --workspace --locked; \
	else cargo test --workspace --lib --bins --tests --locked; fi
	cargo test --workspace --doc --locked

# All benches, each beside its peers and limits in one run; see benches/README.md. QUICK=1: whether they run.
bench: build
	scripts/setup.sh bench
	benches/run.sh

# The hot loops beside peers and limits: a minute, once they are built; no servers.
microbench:
	cargo bench --package shunt-benches --locked

# What takes longer, on release builds, of the programs and of the tests that run the engine themselves: the whole suite with many kills and
# large transactions, sysbench tables under load, ten minutes of each fuzz target. Run before an issue is called resolved.
soak: setup build
	cargo build --release --workspace --locked --bin shunt-failpoints --features shunt-tests/failpoints
	SHUNT_TEST_BINARIES="$(CARGO_TARGET_DIR)/release" SHUNT_SOAK=1 cargo test --release --workspace --test suite --locked -- --test-threads=1
	scripts/soak-move.sh
	scripts/soak-vdiff.sh
	scripts/fuzz.sh 600
