"""Plays one draw: an agency per dialect named, all connected before the first bet is sent.

    run.py --server HOST:PORT --dialects case-id,text,key-value,binary,csv --data DIR

The first dialect speaks for agency 1, the next for agency 2, and so on; each sends DIR/agency-N.csv. Prints the
winners of each agency as JSON, and fails where they are not those computed from the files. `--generate COUNT` makes
up bets instead, and `--store FILE` compares the hub's rows with the bets sent, one by one.
"""

import argparse
import csv
import json
import queue
import sys
import threading
import traceback

import bets
import binary
import case_id
import comma
import key_value
import native
import text
from link import splitter

DIALECTS = {
    "case-id": case_id.Client,
    "text": text.Client,
    "text-per-message": text.per_message,
    "key-value": key_value.Client,
    "key-value-colon": key_value.colon,
    "binary": binary.Client,
    "binary-length-first": binary.length_first_client,
    "csv": comma.Client,
    "native": native.Client,
    "native-one-at-a-time": native.one_at_a_time,
    "native-dropping": native.Dropping,
}


def play(client, batches, go, claimed, result, done):
    """One agency's whole part, in its own thread; what goes wrong becomes its result.

    It begins at `go`, says with `claimed` that the hub has taken bets of it, and puts its result into `done`.
    """
    try:
        go.wait()
        if isinstance(client, comma.Client):
            client.upload(batches[:1])
            claimed.set()
            client.upload(batches[1:])
        else:
            client.upload(batches)
        client.finish()
        result["winners"] = client.winners()
        result["not yet"] = getattr(client, "not_yet", 0)
    except Exception:  # noqa: BLE001 - whatever it is, the runner reports it and fails
        result["error"] = traceback.format_exc()
    finally:
        claimed.set()
        client.close()
        done.put(result)


def asked_again(connect, name):
    """The winners as a new connection is told them, after the draw."""
    client = connect()
    if name.startswith("key-value"):
        client.finish()  # The only way to ask.
    documents = client.winners()
    client.close()
    return documents


def draw(address, dialects, uploads, batch_size, cut):
    """The winners of each agency, or the error that it met."""
    clients = [DIALECTS[name](address, agency, cut) for agency, name in enumerate(dialects, 1)]
    go, done = threading.Event(), queue.SimpleQueue()
    results = [{} for _ in clients]
    # A connection that names no agency gets the next one when it speaks: those of `csv` begin in turn.
    first = go
    for client, sent, result in zip(clients, uploads, results):
        batches, claimed = list(bets.batches(sent, batch_size)), threading.Event()
        unnumbered = isinstance(client, comma.Client)
        begins = first if unnumbered else go
        first = claimed if unnumbered else first
        given = (client, batches, begins, claimed, result, done)
        threading.Thread(target=play, args=given, daemon=True).start()
    go.set()
    for _ in clients:
        # Without the one that failed there is no draw, and the others would wait for it for ever.
        if "error" in done.get():
            break
    return results


def store_differs(path, uploads):
    """Why the rows of the store are not exactly the bets sent, or None."""
    rows = {agency: [] for agency in range(1, len(uploads) + 1)}
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file, strict=True), 1):
            if len(row) != 6 or int(row[0]) not in rows:
                return f"row {number} is {row}"
            rows[int(row[0])].append(bets.Bet(*row[1:5], int(row[5])))
    for agency, sent in enumerate(uploads, 1):
        if rows[agency] != sent:
            pairs = enumerate(zip(rows[agency], sent), 1)
            first = next((f"bet {n}: {got} for {want}" for n, (got, want) in pairs if got != want), "one is longer")
            return f"agency {agency}: {len(rows[agency])} rows for {len(sent)} bets, {first}"
    return None


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, help="HOST:PORT")
    parser.add_argument("--dialects", required=True, help="comma-separated: " + " ".join(DIALECTS))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="directory of agency-N.csv")
    source.add_argument("--generate", type=int, help="bets to make up for each agency")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=62, help="bets in a batch")
    parser.add_argument("--split", choices=("whole", "bytes", "random"), default="whole")
    parser.add_argument("--early-rejects", action="store_true", help="the hub answers early queries with 'not yet'")
    parser.add_argument("--store", help="the hub's bets.csv, compared with the bets sent")
    return parser.parse_args()


def faults_of(options, address, cut, dialects, uploads, results):
    """Everything in which the draw was not what the bets make it, a line each."""
    for agency, (name, sent, result) in enumerate(zip(dialects, uploads, results), 1):
        who, want = f"agency {agency} ({name})", bets.winners(sent)
        if "error" in result:
            yield f"{who}: {result['error']}"
            continue
        if "winners" not in result:
            yield f"{who}: was still waiting"
            continue
        if result["winners"] != want:
            yield f"{who}: {result['winners']} won, not {want}"
        if result["not yet"] and not options.early_rejects:
            yield f"{who}: was told 'not yet' {result['not yet']} times, by a hub that parks"
        # A connection of `csv` would be another agency's.
        if name != "csv":
            again = asked_again(lambda: DIALECTS[name](address, agency, cut), name)
            if again != want:
                yield f"{who}: asked again, {again} won, not {want}"
    if options.store and all("winners" in result for result in results) and (why := store_differs(options.store, uploads)):
        yield f"{options.store}: {why}"


def main():
    options = arguments()
    host, port = options.server.rsplit(":", 1)
    address, dialects = (host, int(port)), options.dialects.split(",")
    cut = splitter(options.split, options.seed)
    if options.data:
        uploads = [bets.read(f"{options.data}/agency-{agency}.csv") for agency in range(1, len(dialects) + 1)]
    else:
        numbered = enumerate(dialects, 1)
        uploads = [bets.generate(agency, options.generate, options.seed, name) for agency, name in numbered]
    results = draw(address, dialects, uploads, options.batch, cut)
    print(json.dumps({str(agency): result.get("winners") for agency, result in enumerate(results, 1)}))
    faults = list(faults_of(options, address, cut, dialects, uploads, results))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
