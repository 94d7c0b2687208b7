// The server through MedplumClient of @medplum/core.

import assert from "node:assert/strict";
import { MedplumClient } from "@medplum/core";
import {
  base, check, expectFamily, expectMixed, family, ids, mixed, modes, parameters, patient, reason, refused, report,
  resources, window,
} from "./checks.mjs";

const ME = "medplum";
const [, baseUrl, fhirUrlPath] = base.match(/^(.*\/)([^/]+)$/);
let last;
const keep = async (...request) => (last = await fetch(...request));
const client = new MedplumClient({ baseUrl, fhirUrlPath, fetch: keep });
const identifier = `https://clients.example/${ME}|`;
const refuses = (status, run) => refused(status, run, () => last.status, (error) => error.outcome);
let ida;

check("creates", async () => {
  ida = await client.createResource(patient(ME, "Vogel"));
  assert.equal(last.status, 201);
});

check("reads", async () => {
  assert.deepEqual((await client.readResource("Patient", ida.id)).name, ida.name);
});

check("reads a reference", async () => {
  assert.equal((await client.readReference({ reference: "Practitioner/smith" })).id, "smith");
});

check("creates conditionally", async () => {
  const again = await client.createResourceIfNoneExist(patient(ME, "Vogel"), `identifier=${identifier}vogel`);
  assert.deepEqual([last.status, again.id], [200, ida.id]);
});

check("updates with If-Match", async () => {
  ida = await client.updateResource({ ...ida, gender: "female" }, { headers: { "If-Match": 'W/"1"' } });
  assert.equal(ida.meta.versionId, "2");
});

check("is refused a stale If-Match", () =>
  refuses(412, () => client.updateResource(ida, { headers: { "If-Match": 'W/"1"' } })));

check("updates conditionally", async () => {
  const known = await client.upsertResource(patient(ME, "Vogel", { gender: "other" }), `identifier=${identifier}vogel`);
  assert.deepEqual([last.status, known.id, known.gender], [200, ida.id, "other"]);
  const fresh = await client.upsertResource(patient(ME, "Falke"), `identifier=${identifier}falke`);
  assert.equal(last.status, 201);
  assert.notEqual(fresh.id, ida.id);
});

check("patches", async () => {
  const operations = [
    { op: "test", path: "/meta/versionId", value: "3" },
    { op: "add", path: "/telecom", value: [{ system: "phone", value: "555" }] },
  ];
  ida = await client.patchResource("Patient", ida.id, operations);
  assert.equal(ida.telecom[0].value, "555");
});

check("is refused a patch that does not apply", () =>
  refuses(422, () => client.patchResource("Patient", ida.id, [{ op: "remove", path: "/photo" }])));

check("reads a version", async () => {
  assert.equal((await client.readVersion("Patient", ida.id, "2")).gender, "female");
});

check("reads history", async () => {
  const found = await client.readHistory("Patient", ida.id);
  assert.equal(found.type, "history");
  assert.deepEqual(resources(found).map((one) => one.meta.versionId), ["4", "3", "2", "1"]);
});

check("searches through all pages", async () => {
  for (const family of ["Amsel", "Drossel", "Fink"]) await client.createResource(patient(ME, family));
  const pages = [];
  const query = { identifier, _count: "2", _sort: "family" };
  for await (const page of client.searchResourcePages("Patient", query)) pages.push(page);
  const names = pages.flat().map((one) => one.name[0].family);
  assert.deepEqual(names, ["Amsel", "Drossel", "Falke", "Fink", "Vogel"]);
  assert.deepEqual(pages.map((page) => page.length), [2, 2, 1]);
});

check("searches for one", async () => {
  assert.equal((await client.searchOne("Patient", { identifier: `${identifier}fink` })).name[0].family, "Fink");
  assert.equal(await client.searchOne("Patient", { identifier: `${identifier}nobody` }), undefined);
});

check("includes and includes in reverse", async () => {
  const found = await client.search("Practitioner", "_id=smith&_revinclude=PractitionerRole:practitioner");
  assert.deepEqual(modes(found), ["Practitioner match", "PractitionerRole include"]);
  const role = await client.search("PractitionerRole", "_id=smith-main&_include=PractitionerRole:location");
  assert.deepEqual(modes(role), ["PractitionerRole match", "Location include"]);
});

check("asks for some elements", async () => {
  const [found] = await client.searchResources("Patient", { identifier: `${identifier}vogel`, _elements: "gender" });
  assert.deepEqual([found.gender, found.name], ["other", undefined]);
});

check("sends a transaction", async () => {
  const answer = await client.executeBatch(family(ME));
  await expectFamily(answer, (id) => client.readResource("Patient", id));
});

check("sends a batch", async () => expectMixed(await client.executeBatch(mixed(ida.id))));

check("puts reads of one moment into one batch", async () => {
  const batching = new MedplumClient({ baseUrl, fhirUrlPath, fetch: keep, autoBatchTime: 20 });
  const found = await Promise.all(["ann", "bob"].map((id) => batching.readResource("Patient", id)));
  assert.deepEqual(ids(found), ["ann", "bob"]);
});

check("finds, books and cancels", async () => {
  const free = await client.get(client.fhirUrl("Schedule", `$find-slots?${new URLSearchParams(window())}`));
  const asked = parameters(
    ["slot", "Reference", { reference: `Slot/${ids(resources(free))[0]}` }],
    ["patient", "Reference", { reference: `Patient/${ida.id}` }],
  );
  const booked = await client.post(client.fhirUrl("Appointment", "$book"), asked);
  assert.deepEqual([last.status, booked.status], [201, "booked"]);
  await refuses(409, () => client.post(client.fhirUrl("Appointment", "$book"), asked));
  const why = parameters(["cancelationReason", "CodeableConcept", reason]);
  const cancelled = await client.post(client.fhirUrl("Appointment", booked.id, "$cancel"), why);
  assert.equal(cancelled.status, "cancelled");
});

check("validates", async () => {
  const outcome = await client.validateResource(patient(ME, "Bird", { gender: "bird" }));
  assert.ok(outcome.issue.some((issue) => issue.severity === "error"));
});

check("asks for everything", async () => {
  const types = resources(await client.readPatientEverything(ida.id)).map((one) => one.resourceType);
  assert.ok(types.includes("Patient") && types.includes("Appointment"), types.join());
});

check("expands a value set", async () => {
  const found = await client.valueSetExpand({ url: "http://hl7.org/fhir/ValueSet/appointmentstatus", filter: "book" });
  assert.deepEqual(found.expansion.contains.map((one) => one.code), ["booked"]);
});

check("deletes, and is told that it is gone", async () => {
  const { id } = await client.createResource(patient(ME, "Gone"));
  await client.deleteResource("Patient", id);
  await refuses(410, () => client.readResource("Patient", id));
});

await report();
