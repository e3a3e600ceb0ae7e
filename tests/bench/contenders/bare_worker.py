"""Loops that receive one message and delete it, with nothing around them: THREADS of them."""

import os
import sys
import threading

import boto3

BATCH = 10


def work(url: str) -> None:
    """Until the process is ended."""
    client = boto3.session.Session().client("sqs")
    while True:
        answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=20)
        for message in answer.get("Messages", ()):
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            sys.stdout.write(f"done {message['Body']}\n")
            sys.stdout.flush()


def main() -> None:
    """`send N` or `work N`."""
    client, url, jobs = boto3.client("sqs"), os.environ["QUEUE_URL"], int(sys.argv[2])
    if sys.argv[1] == "send":
        for start in range(0, jobs, BATCH):
            numbers = range(start, min(start + BATCH, jobs))
            client.send_message_batch(
                QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": str(number)} for number in numbers]
            )
        return
    threads = [threading.Thread(target=work, args=(url,), daemon=True) for _ in range(int(os.environ["THREADS"]))]
    for thread in threads:
        thread.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
