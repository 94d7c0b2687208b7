// What the scripts of this folder share: named checks in order, their results as one line of JSON, and the clinic.

import assert from "node:assert/strict";

export const base = process.argv[2];

const checks = [];

/** Declares a check; the checks of a script run in their order and may build on each other. */
export function check(name, run) {
  checks.push({ name, run });
}

/** Runs the checks and prints [{name, ok, why}]. */
export async function report() {
  const results = [];
  for (const { name, run } of checks) {
    try {
      await within(run);
      results.push({ name, ok: true });
    } catch (error) {
      results.push({ name, ok: false, why: explain(error) });
    }
  }
  console.log(JSON.stringify(results));
}

const SECONDS_MAX = 10;
let fail = () => {};
process.on("unhandledRejection", (error) => fail(error));

/** Awaits `run`, which also fails by what its client leaves unhandled and by taking too long. */
async function within(run) {
  let timer;
  const failed = new Promise((_, reject) => {
    fail = reject;
    timer = setTimeout(() => reject(new Error(`no result in ${SECONDS_MAX} s`)), SECONDS_MAX * 1000);
  });
  try {
    await Promise.race([run(), failed]);
  } finally {
    clearTimeout(timer);
  }
}

function explain(error) {
  const said = error?.response?.data ?? error?.outcome ?? error?.body;
  return `${error?.stack ?? error}${said ? `\n${JSON.stringify(said)}` : ""}`;
}

/** Refuses unless `run` fails in a way of which `status` returns this status, with an OperationOutcome of which
 * `outcome` returns the body. */
export async function refused(expected, run, status, outcome) {
  let answer;
  try {
    answer = await run();
  } catch (error) {
    assert.equal(status(error), expected, explain(error));
    assert.equal(outcome(error)?.resourceType, "OperationOutcome");
    assert.ok(outcome(error).issue.every((issue) => issue.severity && issue.code));
    return;
  }
  assert.fail(`it was accepted: ${JSON.stringify(answer)}`);
}

/** A Patient that only this client knows. */
export function patient(client, family, more = {}) {
  return {
    resourceType: "Patient",
    identifier: [{ system: `https://clients.example/${client}`, value: family.toLowerCase() }],
    active: true,
    name: [{ family, given: ["Ida"] }],
    ...more,
  };
}

/** A window of free time of the test clinic, beginning tomorrow. */
export function window() {
  const day = 24 * 60 * 60 * 1000;
  const from = Date.now() + day;
  return { start: new Date(from).toISOString(), end: new Date(from + 14 * day).toISOString() };
}

/** Parameters of [name, type of value, value] triples. */
export function parameters(...triples) {
  const parameter = triples.map(([name, type, value]) =>
    type === "resource" ? { name, resource: value } : { name, [`value${type}`]: value },
  );
  return { resourceType: "Parameters", parameter };
}

export const reason = {
  coding: [{ system: "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", code: "pat" }],
};

/** A transaction that creates a patient and an organization that it names before either has an id. */
export function family(client) {
  const urn = `urn:uuid:${crypto.randomUUID()}`;
  const request = (method, url) => ({ method, url });
  return {
    resourceType: "Bundle",
    type: "transaction",
    entry: [
      {
        fullUrl: `urn:uuid:${crypto.randomUUID()}`,
        resource: patient(client, "Transacted", { managingOrganization: { reference: urn } }),
        request: request("POST", "Patient"),
      },
      {
        fullUrl: urn,
        resource: { resourceType: "Organization", name: `Practice of ${client}` },
        request: request("POST", "Organization"),
      },
    ],
  };
}

/** A batch in which the second entry must fail and the others must not mind. */
export function mixed(id) {
  const entry = (url) => ({ request: { method: "GET", url } });
  return {
    resourceType: "Bundle",
    type: "batch",
    entry: [entry(`Patient/${id}`), entry("Patient/nobody-at-all"), entry("Slot?_summary=count")],
  };
}

/** Refuses unless the answer to `mixed` is as it should be. */
export function expectMixed(answer) {
  assert.equal(answer.type, "batch-response");
  assert.deepEqual(
    answer.entry.map((entry) => entry.response.status.slice(0, 3)),
    ["200", "404", "200"],
  );
  assert.equal(answer.entry[1].response.outcome.resourceType, "OperationOutcome");
  assert.equal(answer.entry[2].resource.resourceType, "Bundle");
}

/** Refuses unless the answer to `family` holds both, the one pointing to the other. Returns the patient's id. */
export function expectFamily(answer, read) {
  assert.equal(answer.type, "transaction-response");
  const places = answer.entry.map((entry) => {
    assert.match(entry.response.status, /^201/);
    assert.ok(entry.response.etag && entry.response.lastModified);
    return entry.response.location.match(/(\w+)\/([^/]+)\/_history\/1$/).slice(1);
  });
  assert.deepEqual(places.map(([type]) => type), ["Patient", "Organization"]);
  return read(places[0][1]).then((found) => {
    assert.equal(found.managingOrganization.reference, places.map((place) => place.join("/"))[1]);
    return found.id;
  });
}

export const modes = (bundle) => bundle.entry.map((entry) => `${entry.resource.resourceType} ${entry.search.mode}`);
export const resources = (bundle) => (bundle.entry ?? []).map((entry) => entry.resource);
export const ids = (list) => list.map((resource) => resource.id);
