# Everything happens in .venv; nothing else needs to be prepared but Python 3.11 or newer.
# The demonstration does without torch. Tests of networks need it; its wheel brings several GB of CUDA unless pip is pointed
# at a CPU build (PIP_FIND_LINKS, PIP_INDEX_URL): `make test NETS=` leaves it out, and those tests are skipped with a reason.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
NETS ?= torch,monai,torchio
WITH_NETS := .venv/.nets
DEMO := demo

.PHONY: demo test check slow nnunet bench docs clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py $(DEMO)

test: check $(if $(NETS),$(WITH_NETS))
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/ruff format --check -q src tests benchmarks examples docs
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

# nnU-Net with a CPU build of torch: plainly installed, it would bring torchvision and with it another torch. Needs SLIMSCAN_DATA.
nnunet: $(WITH_NETS)
	$(BIN)/python -m pip install -q --no-deps "nnunetv2>=2.5" "dynamic-network-architectures>=0.4.4,<0.5" "timm<1.0.23"
	$(BIN)/python -m pip install -q -c constraints.txt "acvl-utils>=0.2.6,<0.3" "batchgenerators>=0.25.1" "batchgeneratorsv2>=0.3.2" \
	    scikit-learn pandas graphviz seaborn yacs einops "blosc2>=3.3.2" tqdm pyyaml safetensors huggingface_hub
	$(BIN)/python -m pytest -q -m slow tests/test_nnunet.py

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

docs: $(STAMP)
	$(BIN)/python docs/generate.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[video,dask,study,roi,serve,seg,pacs,onnx,slides,test,bench]"
	touch $(STAMP)

$(WITH_NETS): $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[$(NETS)]"
	touch $(WITH_NETS)

clean:
	rm -rf .venv $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
