# reluopt on a CPU, with the versions of requirements/ and nothing else.
#
#   docker build -t reluopt .
#   docker run --rm reluopt make demo    # the README's two commands
#   docker run --rm reluopt make test
#
# Runs are kept where a folder is mounted: docker run --rm -v "$PWD/runs:/reluopt/runs" reluopt make demo
FROM python:3.12-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends make git \
 && rm -rf /var/lib/apt/lists/*

# torch's CPU build: the default one brings gigabytes of CUDA
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1 \
    OMP_NUM_THREADS=1

# one who is not root: tests of folders that may not be written need that
RUN useradd --create-home reluopt && mkdir /reluopt && chown reluopt /reluopt
USER reluopt
WORKDIR /reluopt
COPY --chown=reluopt . .

# both commands' packages, so that neither needs the network later
RUN make .venv/.dev

CMD ["make", "demo"]
