"""The Kubernetes operator: queues and buckets as custom resources.

Started as `kopf run -m academy_operator --standalone --namespace NAMESPACE --liveness=http://0.0.0.0:8080/healthz`; the
import registers the handlers of main.py.
"""

from academy_operator import main as main
