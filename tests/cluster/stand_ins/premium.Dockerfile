# The premium worker without PyTorch and a model, for drills of GPU nodes: all of its code but what one kind computes.
ARG AI=academy-ai

FROM ${AI}
USER 0:0
# Byte code is not checked against its source, so what was compiled of the other one goes.
RUN rm /opt/academy/app/academy_ai/kinds/lecture_transcribe/__pycache__/run.*.pyc
COPY premium.py /opt/academy/app/academy_ai/kinds/lecture_transcribe/run.py
USER 65532:65532
CMD ["python", "-m", "academy_ai.main", "premium"]
