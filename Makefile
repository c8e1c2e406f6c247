# Everything there is to do with the project, by name. `make` alone lists it.

SHELL := /bin/sh
COMPOSE_FILE ?= docker-compose-dev.yaml
COMPOSE = sh tools/compose.sh '$(COMPOSE_FILE)'
DOCKER_BUILD_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 } /^##@/ { printf "\n%s\n", substr($$0, 5) }' $(MAKEFILE_LIST)

##@ The main job, and whether it works

with_python = command -v python3 >/dev/null || { echo "$(1): SKIPPED, there is no python3 here"; exit 0; };

# Make exports what is set in its command line: a script, or a recipe's shell as $$NAME, has it as it is, quotes too.
.PHONY: demo demo-cluster server client test test-rust test-tools test-browser screenshots test-docker test-cluster mixed-runs kill-loop kill-cluster patroni simulate soak soak-cluster fuzz hostile parked lint fmt
demo: ## one whole draw on loopback; DIALECT= native, binary, text, key-value, case-id, csv, mixed; DATA= folder; WATCH=1 waits for Enter
	@sh tools/demo.sh

demo-cluster: ## one draw by three hubs over three PostgreSQL nodes, with a leader and a hub killed in mid-upload: BETS= (1000000 an agency)
	@BETS='$(BETS)' WINNING_NUMBER='$(WINNING_NUMBER)' sh tools/demo_cluster.sh

# What is given by name goes on as a flag: PORT= AGENCIES= STORE=, or ID= SERVER= DATA= PROTOCOL= WINNERS=.
server: ## the hub, here and now: PORT= (12345), AGENCIES= (5), STORE= (bets.csv)
	cargo run --release --locked --bin server -- $(if $(PORT),--port "$$PORT") $(if $(AGENCIES),--agencies "$$AGENCIES") $(if $(STORE),--store "$$STORE")

client: ## one agency: ID= (1), SERVER= (localhost:12345), DATA= (.data/agency-ID.csv), PROTOCOL= (native), WINNERS=
	cargo run --release --locked --bin client -- $(if $(ID),--id "$$ID") $(if $(SERVER),--server "$$SERVER") $(if $(DATA),--data "$$DATA") $(if $(PROTOCOL),--protocol "$$PROTOCOL") $(if $(WINNERS),--winners "$$WINNERS")

test: ## the tests of everything but a cluster's failures; the last line says what passed, and what was skipped and why
	@MAKE='$(MAKE)' sh tools/test.sh

test-rust: ## the Rust tests, several programs at once: AT_ONCE= (3)
	@AT_ONCE='$(AT_ONCE)' sh tools/test_rust.sh

test-tools: ## the scripts and the demo, without containers
	@$(call with_python,test-tools) \
	python3 -m unittest discover --verbose --start-directory tests/tools --pattern 'test_*.py'

test-browser: ## the status page in a headless Chromium, through whole draws; skipped aloud where there is no browser
	@$(call with_python,test-browser) \
	python3 -m unittest discover --verbose --start-directory tests/browser --pattern 'test_*.py'

screenshots: test-browser ## the same, and where its screenshots are; docs/images has two of them
	@ls "$${CARGO_TARGET_DIR:-target}"/screenshots/*.png

kill-loop: ## hub and clients killed some thousand times over ten draws of the course's data: KILL_DRAWS= (10)
	LOTERIA_KILL_DRAWS='$(or $(KILL_DRAWS),10)' cargo test --locked --test hub_kill -- --nocapture

kill-cluster: ## leaders, standbys and hubs of a cluster killed, leaders paused, every row compared: KILL_DRAWS= (10), KILL_FAILURES= in each (4), LOTERIA_KILL_SEED=
	LOTERIA_KILL_DRAWS='$(or $(KILL_DRAWS),10)' LOTERIA_KILL_FAILURES='$(or $(KILL_FAILURES),4)' cargo test --locked --test cluster_kill -- --nocapture leaders_standbys

test-cluster: ## a cluster's failures: nodes and hubs as processes, under Patroni, and in containers (ten minutes); what is missing is skipped aloud
	@sh tools/test_rust.sh cluster_kill
	@$(call with_python,test-cluster) \
	python3 -m unittest discover --verbose --start-directory tests/tools --pattern 'long_*.py'
	@sh tools/run_cluster_test.sh

patroni: ## nothing is lost under Patroni when a leader is killed, and when one is paused and goes on (two minutes); skipped aloud without it
	@$(call with_python,patroni) \
	python3 -m unittest discover --verbose --start-directory tests/tools --pattern 'long_patroni.py'

mixed-runs: ## fifty draws in a row, each agency in another dialect (minutes)
	cargo test --locked --test peers -- --ignored fifty_mixed_draws_in_a_row

test-docker: ## the course's checks, in containers; skipped aloud where no engine answers
	@$(call with_python,test-docker) \
	python3 -m unittest discover --verbose --start-directory tests/docker --pattern 'test_*.py'

simulate: ## one run of the simulated hub, told: SEED=
	@test -n '$(SEED)' || { echo 'make simulate SEED=…: which run?' >&2; exit 2; }
	SEED='$(SEED)' cargo test --locked --test simulation -- --ignored --exact replay --nocapture

soak: ## as many simulated runs as there is time for: SOAK_SEEDS= (200000), FIRST_SEED=, SOAK_THREADS=
	cargo test --locked --profile soak --test simulation -- --ignored --exact soak --nocapture

soak-cluster: ## as many runs of simulated hubs that share a draw: CLUSTER_SEEDS= (5000), FIRST_SEED= (0), HUBS_COUNT= (1 to 3), SOAK_THREADS=
	SOAK_THREADS='$(or $(SOAK_THREADS),$(shell nproc))' \
	HUBS_SEEDS='$(or $(CLUSTER_SEEDS),5000)' HUBS_LEDGER_SEEDS='$(or $(CLUSTER_SEEDS),5000)' \
	HUBS_FIRST_SEED='$(or $(FIRST_SEED),0)' HUBS_LEDGER_FIRST_SEED='$(or $(FIRST_SEED),0)' \
	LEDGER_SEEDS='$(or $(CLUSTER_SEEDS),5000)' LEDGER_FIRST_SEED='$(or $(FIRST_SEED),0)' \
	cargo test --locked --profile soak --test hubs --test hubs_ledger --test ledger_simulation -- --skip every_mutant_is_caught

fuzz: ## any bytes for every decoder, whole sessions, starts and configurations: FUZZ_SECONDS= (60 each), FUZZ_TARGET=
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_TARGET='$(FUZZ_TARGET)' FUZZ_SANITIZER='$(FUZZ_SANITIZER)' sh tools/fuzz.sh

hostile: ## 10,000 hostile connections while agencies upload and draw: HOSTILE_FLAGS="--pause 0" (minutes)
	cargo build --release --locked --bin server
	cargo bench --locked --bench hostile -- compare $(HOSTILE_FLAGS)

parked: ## 15,000 queries parked for 150 s: what each costs, and that all are answered: HOSTILE_FLAGS=
	cargo build --release --locked --bin server
	cargo bench --locked --bench hostile -- parked $(HOSTILE_FLAGS)

lint: ## formatting, clippy and the library's documentation, as CI has them
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

fmt: ## format the sources
	cargo fmt

##@ Docker

.PHONY: docker-image docker-cluster-up docker-cluster-down docker-cluster-test docker-compose-up docker-compose-down docker-compose-logs
# One compilation for both, kept by a name of its own: `docker image prune` would remove it, and the next build would
# compile everything again. Each program's folder has its Dockerfile where tools/entrega.sh laid the project out.
dockerfile = $(firstword $(wildcard $(1)/Dockerfile) Dockerfile)
docker-image: ## the images server:latest and client:latest
	docker build $(DOCKER_BUILD_FLAGS) --file $(call dockerfile,server) --target programs --tag loteria-programs:latest .
	docker build $(filter-out --no-cache --pull,$(DOCKER_BUILD_FLAGS)) --file $(call dockerfile,server) --target server --tag server:latest .
	docker build $(filter-out --no-cache --pull,$(DOCKER_BUILD_FLAGS)) --file $(call dockerfile,client) --target client --tag client:latest .

docker-compose-up: docker-image ## build the images and start the hub and its agencies
	sh tools/preparar.sh '$(COMPOSE_FILE)'
	@$(COMPOSE) up -d || { last=$$($(COMPOSE) logs --no-color --tail 3 server); \
		[ -z "$$last" ] || printf 'the last lines of the server:\n%s\n' "$$last" >&2; exit 1; }
	@$(COMPOSE) port server 9100 2>/dev/null | sed -n 's|^127.*|status: http://&/|p'

# The nodes' image takes the schema from the hub's.
CLUSTER_FILE = docker-compose-cluster.yaml
docker-cluster-up: docker-image ## several hubs behind haproxy, over three PostgreSQL nodes under Patroni, and the agencies: HUBS= (3), DATA= (.data), SERVICES= (all)
	docker build $(DOCKER_BUILD_FLAGS) --target node --tag loteria-node:latest tools/cluster
	docker build $(DOCKER_BUILD_FLAGS) --target balancer --tag loteria-balancer:latest tools/cluster
	sh tools/generar-compose.sh --cluster '$(or $(HUBS),3)' '$(CLUSTER_FILE)'
	sh tools/compose.sh '$(CLUSTER_FILE)' up -d $(SERVICES)
	@for hub in $$(sed -n 's/^  \(hub[0-9]*\):$$/\1/p' '$(CLUSTER_FILE)'); do \
		sh tools/compose.sh '$(CLUSTER_FILE)' port $$hub 9100 | sed -n "s|^127.*|status of $$hub: http://&/|p"; \
	done

docker-cluster-down: ## remove the containers of docker-cluster-up, with what they stored
	sh tools/compose.sh '$(CLUSTER_FILE)' down --volumes --remove-orphans -t 5

docker-cluster-test: ## such a cluster loses the leader's and a hub's container in mid-upload, every row and winner compared; skipped aloud without Docker: BETS= (1000000 an agency)
	@BETS='$(BETS)' sh tools/run_cluster_test.sh

docker-compose-logs: ## follow the containers' logs
	$(COMPOSE) logs -f

docker-compose-down: ## stop the containers and remove them, with what they stored
	$(COMPOSE) stop -t 1
	$(COMPOSE) down --remove-orphans

##@ Building

.PHONY: build man install uninstall
build: ## the programs for this machine, in target/release
	cargo build --release --locked

man: ## manual pages of server, client and loteria, in target/man: man target/man/loteria.1
	cargo run --quiet --locked --example man -- "$(target)/man"

# The names `server` and `client` are too common for a system's folder of programs. What is installed is what was built,
# so that root needs no cargo. PROFILE=debug installs a debug build.
PREFIX ?= /usr/local
DESTDIR ?=
PROFILE ?= release
target = $${CARGO_TARGET_DIR:-target}
place = $(DESTDIR)$(PREFIX)
installed = server:loteria-server client:loteria-client loteria:loteria
# systemd would end the program's name at a space.
quote = $(if $(word 2,_$(PREFIX)_),")
completions = bash:bash-completion/completions/loteria zsh:zsh/site-functions/_loteria fish:fish/vendor_completions.d/loteria.fish

install: ## loteria-server, loteria-client, loteria, their manual pages, completions and unit, after `make build man`: PREFIX= (/usr/local), DESTDIR=
	@case '$(PREFIX)' in /*) ;; *) echo 'make install: PREFIX is $(PREFIX); it must begin with /' >&2; exit 2 ;; esac
	@for file in $(addprefix $(PROFILE)/,server client loteria) man/loteria-server.1; do \
		[ -f "$(target)/$$file" ] || { echo "make install: there is no $(target)/$$file; run \`make build man\` first" >&2; exit 2; }; \
	done
	install -d '$(place)/bin' '$(place)/share/man/man1' '$(place)/share/doc/loteria' '$(place)/lib/systemd/system'
	for pair in $(installed); do install -m 755 "$(target)/$(PROFILE)/$${pair%%:*}" "$(place)/bin/$${pair#*:}" || exit; done
	install -m 644 "$(target)"/man/loteria.1 "$(target)"/man/loteria-*.1 '$(place)/share/man/man1/'
	install -m 644 config.ini config.yaml LICENSE '$(place)/share/doc/loteria/'
	for pair in $(completions); do \
		install -d "$(place)/share/$$(dirname "$${pair#*:}")" || exit; \
		"$(target)/$(PROFILE)/loteria" completions "$${pair%%:*}" >"$(place)/share/$${pair#*:}" && chmod 644 "$(place)/share/$${pair#*:}" || exit; \
	done
	sed 's|^ExecStart=/usr/local/\([^ ]*\)|ExecStart=$(quote)$(PREFIX:/=)/\1$(quote)|' tools/loteria.service >'$(place)/lib/systemd/system/loteria.service'
	chmod 644 '$(place)/lib/systemd/system/loteria.service'

uninstall: ## remove what `make install` installed; configuration and stores stay: PREFIX= DESTDIR=
	for pair in $(installed); do rm -f "$(place)/bin/$${pair#*:}"; done
	for pair in $(completions); do rm -f "$(place)/share/$${pair#*:}"; done
	rm -f '$(place)'/share/man/man1/loteria.1 '$(place)'/share/man/man1/loteria-*.1 '$(place)/lib/systemd/system/loteria.service'
	rm -f '$(place)/share/doc/loteria/config.ini' '$(place)/share/doc/loteria/config.yaml' '$(place)/share/doc/loteria/LICENSE'
	[ ! -d '$(place)/share/doc/loteria' ] || rmdir '$(place)/share/doc/loteria'

##@ How fast it is

# More flags: `python3 tools/bench --help`; for instance BENCH_FLAGS="--pairs 2 --seconds 0.5 --only window".
BENCH_FLAGS ?=

.PHONY: bench bench-before bench-size bench-cluster bench-decoders
bench: ## against the raw floor and Redis, into docs/PERFORMANCE.md (a quarter of an hour)
	python3 tools/bench compare --write $(BENCH_FLAGS)

bench-before: ## against an earlier build of the server, in turns: BEFORE=path of it (a quarter of an hour)
	@test -x '$(BEFORE)' || { echo 'make bench-before BEFORE=…: which server?' >&2; exit 2; }
	python3 tools/bench compare --before '$(BEFORE)' $(BENCH_FLAGS)

bench-size: ## from 10 thousand to 100 million bets, from 1 to 10,000 connections, into docs/PERFORMANCE.md
	python3 tools/bench size --write $(BENCH_FLAGS)

bench-cluster: ## hubs that share a PostgreSQL of three nodes, against a hub with files and JetStream (NATS_SERVER=path), into docs/PERFORMANCE.md (a quarter of an hour)
	python3 tools/bench cluster --write $(BENCH_FLAGS)

bench-decoders: ## the decoders and the row encoder alone, with Criterion
	cargo bench --locked --bench decoders
