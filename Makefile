# Each target installs what it needs, pinned, in .venv/, .collections/ and .cache/ (tests/run.py: parts of tests/rig/setup); a second run does
# not install again.
SHELL = /bin/sh
.DEFAULT_GOAL := help
.PHONY: help quickstart quickstart-stop test lint sanity unit integration newest molecule cost bench soak docs readmes release changelog clean tools

help:                   ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

quickstart:             ## Serve a storage out of .quickstart/, without root: make quickstart [DATA=Data.fs [BLOBS=folder]]
	@playbooks/quickstart.sh

quickstart-stop:        ## Stop it
	@playbooks/quickstart.sh stop

# What lasts longest comes first, so that both cores are busy until the end.
test: tools             ## Everything that follows, but cost, bench and soak
	@.venv/bin/python tests/run.py integration molecule release sanity newest unit lint docs

lint: tools             ## yamllint, ruff, ansible-lint, the changelog
	@.venv/bin/python tests/run.py lint

docs: tools             ## The documentation of modules, filters and roles
	@.venv/bin/python tests/run.py docs

readmes: tools          ## Write the tables of the roles' READMEs out of meta/argument_specs.yml
	@.venv/bin/python tests/readmes.py --write

sanity: tools           ## ansible-test sanity
	@.venv/bin/python tests/run.py sanity

unit: tools             ## The unit tests
	@.venv/bin/python tests/run.py unit

integration: tools      ## The modules, by real tasks on this machine: make integration [TARGET=tests/integration/FILE]
	@.venv/bin/python tests/run.py integration

release: tools          ## The tarball, built and imported, and the quickstart out of a clone
	@.venv/bin/python tests/run.py release

newest: tools           ## With Python 3.13 and the newest ansible-core: unit tests, bad input, the tarball installed and its quickstart
	@.venv/bin/python tests/run.py newest

molecule: tools         ## The roles on test hosts: make molecule [SCENARIO=zeo_server_default]
	@.venv/bin/python tests/run.py molecule

cost: tools             ## How often an unchanged run touches a host
	@.venv/bin/python tests/run.py cost

bench: tools            ## What a run costs, as ratios
	@.venv/bin/python tests/run.py bench

soak: tools             ## The scenarios and integration tests with the large numbers
	@SOAK=1 .venv/bin/python tests/run.py molecule integration
	@SOAK=1 SCENARIO=relstorage_postgres_replication ZODB_GROUP=debian12 .venv/bin/python tests/run.py molecule

changelog: tools        ## Write CHANGELOG.rst out of the fragments, for the version of galaxy.yml
	@PATH=$(CURDIR)/.venv/bin:$$PATH ANSIBLE_COLLECTIONS_PATH=$(CURDIR)/.collections antsibull-changelog release --reload-plugins --update-existing

clean:                  ## Remove the test hosts and all that was installed
	@tests/rig/clean

tools:
	@tests/rig/setup tools
