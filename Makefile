# Everything is built outside the clone. `make test` is what CI runs.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/shunt/target

.PHONY: build setup test lint

build:
	cargo build --release --locked

# Debian packages and servers that the tests need; does nothing where all is there.
setup:
	scripts/setup.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

test: setup lint
	if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --workspace --locked; \
	else cargo test --workspace --lib --bins --tests --locked; fi
	cargo test --workspace --doc --locked
