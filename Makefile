# Your targets. Those of Baton are in baton.mk, which an upgrade replaces: docs/baton/upgrading.md.
include baton.mk

# A target with a text after "##" is listed by `make help`. $(READY) makes the virtual environment first. Example:
#
# .PHONY: seed
# seed: $(READY) ## Fill the development tables with examples
# 	@$(PYTHON) -m seed
