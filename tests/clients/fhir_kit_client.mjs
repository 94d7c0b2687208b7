// The server through fhir-kit-client.

import assert from "node:assert/strict";
import { Client } from "fhir-kit-client";
import {
  base, check, expectFamily, expectMixed, family, ids, mixed, modes, parameters, patient, reason, refused, report,
  resources, window,
} from "./checks.mjs";

const ME = "fhir-kit-client";
const client = new Client({ baseUrl: base });
const query = { identifier: `https://clients.example/${ME}|vogel` };
const refuses = (status, run) => refused(status, run, (e) => e.response?.status, (e) => e.response?.data);
const response = (resource) => Client.httpFor(resource).response;
let ida;

check("reads the capability statement", async () => {
  const statement = await client.capabilityStatement();
  assert.equal(statement.fhirVersion, "4.0.1");
});

check("creates", async () => {
  ida = await client.create({ resourceType: "Patient", body: patient(ME, "Vogel") });
  assert.equal(response(ida).status, 201);
  assert.equal(response(ida).headers.get("location"), `${base}/Patient/${ida.id}/_history/1`);
  assert.equal(response(ida).headers.get("etag"), 'W/"1"');
});

check("reads", async () => {
  const found = await client.read({ resourceType: "Patient", id: ida.id });
  assert.deepEqual(found.name, ida.name);
  assert.ok(response(found).headers.get("last-modified"));
});

check("is told 304 when nothing changed", async () => {
  const options = { headers: { "If-None-Match": 'W/"1"' } };
  await assert.rejects(client.read({ resourceType: "Patient", id: ida.id, options }), (e) => e.response.status === 304);
});

check("creates conditionally", async () => {
  const options = { headers: { "If-None-Exist": new URLSearchParams(query).toString() } };
  const again = await client.create({ resourceType: "Patient", body: patient(ME, "Vogel"), options });
  assert.equal(response(again).status, 200);
  assert.equal(again.id, ida.id);
});

check("updates with If-Match", async () => {
  const options = { headers: { "If-Match": 'W/"1"' } };
  const body = { ...ida, gender: "female" };
  ida = await client.update({ resourceType: "Patient", id: ida.id, body, options });
  assert.equal(ida.meta.versionId, "2");
});

check("is refused a stale If-Match", () => {
  const options = { headers: { "If-Match": 'W/"1"' } };
  return refuses(412, () => client.update({ resourceType: "Patient", id: ida.id, body: ida, options }));
});

check("updates conditionally", async () => {
  const { id, meta, ...body } = ida;
  const updated = await client.update({ resourceType: "Patient", searchParams: query, body });
  assert.equal(updated.id, id);
});

check("patches", async () => {
  const jsonPatch = [{ op: "replace", path: "/gender", value: "other" }];
  ida = await client.patch({ resourceType: "Patient", id: ida.id, jsonPatch });
  assert.equal(ida.gender, "other");
});

check("is refused a patch that does not apply", () => {
  const jsonPatch = [{ op: "test", path: "/gender", value: "male" }];
  return refuses(422, () => client.patch({ resourceType: "Patient", id: ida.id, jsonPatch }));
});

check("is refused what is not valid", () =>
  refuses(422, () => client.create({ resourceType: "Patient", body: patient(ME, "Bird", { gender: "bird" }) })));

check("reads a version", async () => {
  const first = await client.vread({ resourceType: "Patient", id: ida.id, version: "1" });
  assert.equal(first.meta.versionId, "1");
  assert.equal(first.gender, undefined);
});

check("searches through all pages and back", async () => {
  for (const family of ["Amsel", "Drossel", "Fink", "Star", "Meise"]) {
    await client.create({ resourceType: "Patient", body: patient(ME, family) });
  }
  const searchParams = { identifier: `https://clients.example/${ME}|`, _count: 2, _sort: "family" };
  const pages = [await client.search({ resourceType: "Patient", searchParams })];
  for (let next; (next = await client.nextPage({ bundle: pages.at(-1) })); ) pages.push(next);
  const names = pages.flatMap(resources).map((one) => one.name[0].family);
  assert.deepEqual(names, ["Amsel", "Drossel", "Fink", "Meise", "Star", "Vogel"]);
  assert.deepEqual(pages.map((page) => page.entry.length), [2, 2, 2]);
  assert.equal(pages[0].total, 6);
  const back = await client.prevPage({ bundle: pages[2] });
  assert.deepEqual(ids(resources(back)), ids(resources(pages[1])));
});

check("searches with POST", async () => {
  const found = await client.search({ resourceType: "Patient", searchParams: query, options: { postSearch: true } });
  assert.deepEqual(ids(resources(found)), [ida.id]);
});

check("includes and includes in reverse", async () => {
  const searchParams = { _id: "smith-main", _include: "Schedule:actor", "_include:iterate": "PractitionerRole:practitioner" };
  const found = await client.search({ resourceType: "Schedule", searchParams });
  assert.deepEqual(modes(found).sort(), ["Practitioner include", "PractitionerRole include", "Schedule match"]);
  const reverse = { _id: "smith", _revinclude: "PractitionerRole:practitioner" };
  const back = await client.search({ resourceType: "Practitioner", searchParams: reverse });
  assert.deepEqual(modes(back), ["Practitioner match", "PractitionerRole include"]);
});

check("follows a chain", async () => {
  const searchParams = { "actor:PractitionerRole.practitioner:Practitioner.family": "smith" };
  const found = await client.search({ resourceType: "Schedule", searchParams });
  assert.deepEqual(ids(resources(found)), ["smith-main"]);
});

check("asks for summaries and elements", async () => {
  const count = await client.search({ resourceType: "Patient", searchParams: { ...query, _summary: "count" } });
  assert.equal(count.total, 1);
  assert.equal(count.entry, undefined);
  const [summary] = resources(await client.search({ resourceType: "Patient", searchParams: { ...query, _summary: "true" } }));
  assert.equal(summary.meta.tag[0].code, "SUBSETTED");
  const [some] = resources(await client.search({ resourceType: "Patient", searchParams: { ...query, _elements: "gender" } }));
  assert.equal(some.gender, "other");
  assert.equal(some.name, undefined);
});

check("searches the system", async () => {
  const found = await client.search({ searchParams: { _type: "Patient,Organization", _lastUpdated: "gt2020", _count: 1 } });
  assert.equal(found.type, "searchset");
  assert.equal(found.entry.length, 1);
});

check("searches a compartment", async () => {
  const compartment = { resourceType: "Practitioner", id: "smith" };
  const found = await client.search({ resourceType: "PractitionerRole", compartment });
  assert.deepEqual(ids(resources(found)), ["smith-main"]);
});

check("sends a transaction", async () => {
  const answer = await client.transaction({ body: family(ME) });
  await expectFamily(answer, (id) => client.read({ resourceType: "Patient", id }));
});

check("sends a transaction of which nothing is done", async () => {
  const body = family(ME);
  body.entry[0].resource.name[0].family = "Undone";
  body.entry[1].resource.active = "perhaps";
  await assert.rejects(client.transaction({ body }), (e) => e.response.data.resourceType === "OperationOutcome");
  const found = await client.search({ resourceType: "Patient", searchParams: { family: "Undone", _summary: "count" } });
  assert.equal(found.total, 0);
});

check("sends a batch", async () => expectMixed(await client.batch({ body: mixed(ida.id) })));

check("reads history", async () => {
  const own = await client.history({ resourceType: "Patient", id: ida.id });
  assert.equal(own.type, "history");
  assert.equal(own.total, own.entry.length);
  assert.match(own.entry[0].request.method, /^(PUT|PATCH)$/);
  assert.equal(own.entry.at(-1).request.method, "POST");
  assert.equal((await client.history({ resourceType: "Patient" })).type, "history");
  assert.equal((await client.history()).type, "history");
});

check("resolves a reference", async () => {
  const role = await client.read({ resourceType: "PractitionerRole", id: "smith-main" });
  const found = await client.resolve({ reference: role.practitioner.reference, context: role });
  assert.equal(found.id, "smith");
});

check("finds, books and cancels", async () => {
  const found = await client.operation({ name: "find-slots", resourceType: "Schedule", method: "GET", input: window() });
  const slot = resources(found)[0];
  const input = parameters(
    ["slot", "Reference", { reference: `Slot/${slot.id}` }],
    ["patient", "Reference", { reference: `Patient/${ida.id}` }],
  );
  const booked = await client.operation({ name: "book", resourceType: "Appointment", input });
  assert.equal(booked.status, "booked");
  assert.equal(response(booked).status, 201);
  await refuses(409, () => client.operation({ name: "book", resourceType: "Appointment", input }));
  const why = parameters(["cancelationReason", "CodeableConcept", reason]);
  const cancelled = await client.operation({ name: "$cancel", resourceType: "Appointment", id: booked.id, input: why });
  assert.equal(cancelled.status, "cancelled");
});

check("validates", async () => {
  const bad = parameters(["resource", "resource", patient(ME, "Bird", { gender: "bird" })]);
  const outcome = await client.operation({ name: "validate", resourceType: "Patient", input: bad });
  assert.ok(outcome.issue.some((issue) => issue.severity === "error" && issue.expression[0] === "Patient.gender"));
  const good = parameters(["resource", "resource", patient(ME, "Good")]);
  const fine = await client.operation({ name: "validate", resourceType: "Patient", input: good });
  assert.ok(fine.issue.every((issue) => !["error", "fatal"].includes(issue.severity)));
});

check("asks for everything", async () => {
  const all = await client.operation({ name: "everything", resourceType: "Patient", id: ida.id, method: "GET" });
  assert.equal(all.type, "searchset");
  const types = resources(all).map((resource) => resource.resourceType);
  assert.ok(types.includes("Patient") && types.includes("Appointment"), types.join());
});

check("deletes, and is told that it is gone", async () => {
  const { id } = await client.create({ resourceType: "Patient", body: patient(ME, "Gone") });
  await client.delete({ resourceType: "Patient", id });
  await refuses(410, () => client.read({ resourceType: "Patient", id }));
  assert.equal((await client.vread({ resourceType: "Patient", id, version: "1" })).id, id);
  await refuses(404, () => client.read({ resourceType: "Patient", id: "never-was" }));
});

await report();
