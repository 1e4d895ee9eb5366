# What people call. The work is in deploy/*.sh and in the program deploy/embedded; see `make help`.

.DEFAULT_GOAL := help
.PHONY: help demo run stores stores-stop stores-status test dashboards dashboards-test alerts-test vector-test status-page-test bench durability faults tier-test tier-bench sbom reproduce security package deploy-check senders fuzz lint clean-data

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Set everything up, send real telemetry through every protocol, show what landed (KEEP=1 leaves it running)
	@KEEP="$(KEEP)" deploy/demo/demo.sh

run: ## Set everything up and serve until Ctrl-C
	@deploy/run.sh

stores: ## Install and start the embedded stores (TimescaleDB, ClickHouse) in the background
	@deploy/stores.sh up

stores-stop: ## Stop the embedded stores
	@deploy/stores.sh down

stores-status: ## Show which embedded stores run; fails when one does not
	@deploy/stores.sh status

test: ## Run every test against the embedded stores
	@deploy/test.sh

dashboards: ## Write dashboards and alert rules from grafana/source
	@grafana/dashboards.py

dashboards-test: ## Run every panel and variable of the dashboards on real telemetry (half a minute)
	@grafana/test.sh

alerts-test: ## Cause what each alert rule waits for, measure when it fires (3 minutes; ALERTS_SCALE=1: 20)
	@deploy/prometheus/test.sh

vector-test: ## Run the tests of the Vector configurations (half a minute the first time)
	@vector/test.sh

status-page-test: ## Look at the status page in Chromium (half a minute; SCREENSHOTS=1 writes those of the docs)
	@gateway/tests/browser/test.sh $(if $(SCREENSHOTS),screenshots)

bench: ## Measure every protocol with the load test (some minutes); the report is in data/bench
	@loadtest/bench.sh

durability: ## Measure what durability and exactly-once cost, as ratios within one run (10 minutes)
	@loadtest/durability.sh

faults: ## Kill and disturb gateways and stores, audit what was acknowledged (20 minutes; FAULTS=ci: 5)
	@loadtest/faults.sh

tier-test: ## Move ranges between the stores while movers die and race, audit every read (some minutes; TIERING=ci: 2)
	@loadtest/tiering.sh

tier-bench: ## Measure what moving ranges and reading both tiers cost (15 minutes; TIER_BENCH="--spans .." for less)
	@loadtest/tiering.sh bench $(TIER_BENCH)

package: ## Make the Debian package of the gateway, in target/debian
	@deploy/debian/build.sh

deploy-check: ## Check what is in deploy/ and run the Debian package under systemd (3 minutes and builds)
	@deploy/check.sh

sbom: ## Check the dependencies and write their licences and a bill of materials to target/supply-chain
	@deploy/supply-chain.sh

reproduce: ## Build the release twice in different places and compare (30 minutes; PROFILE=quick: 10)
	@deploy/reproduce.sh

security: ## Attack a gateway in every way that its threat model names (2 minutes); the last line counts what succeeded
	@loadtest/security.sh

senders: ## Run real senders (Collector, Prometheus, SDKs, Flight ..) and audit what landed (SENDERS="name .." for some)
	@loadtest/senders.sh $(SENDERS)

fuzz: ## Fuzz every decoder for a minute (FUZZ_SECONDS=..; FUZZ="target .." for some)
	@gateway/fuzz/fuzz.sh $(FUZZ)

lint: ## Check formatting and lints
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings

clean-data: ## Stop the embedded stores and remove everything they and the gateway have stored
	@deploy/stores.sh down
	rm -rf data
