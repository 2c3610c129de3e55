// Checks custom resources against the schemas of their operators, as strictly as the API server does with
// `--validate=strict`: the validators know what values may be, the types (object literals of a closed type) which
// fields there are. Reads a JSON list of objects, prints a JSON list of complaints for each.
//   node check.mjs < objects.json
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const packages = {
  "cert-manager.io": "cert-manager",
  "monitoring.coreos.com": "prometheus-operator",
  "postgresql.cnpg.io": "cloudnative-pg",
};
const here = dirname(fileURLToPath(import.meta.url));
const objects = JSON.parse(readFileSync(0, "utf8"));
const complaints = objects.map(() => []);

// Beside node_modules, so that imports are found.
const folder = mkdtempSync(join(here, "checked-"));
try {
  const files = [];
  for (const [number, object] of objects.entries()) {
    const { apiVersion, kind } = object;
    const known = packages[apiVersion.split("/")[0]];
    if (known === undefined) {
      complaints[number].push(`no schema is known for ${apiVersion}`);
      continue;
    }
    const from = `@kubernetes-models/${known}/${apiVersion}/${kind}`;
    let model;
    try {
      model = (await import(from))[kind];
    } catch (error) {
      complaints[number].push(`no schema is known for ${kind} of ${apiVersion}: ${error.message}`);
      continue;
    }
    try {
      new model(object).validate();
    } catch (error) {
      complaints[number].push(error.message);
    }
    files[number] = join(folder, `${number}.ts`);
    const literal = JSON.stringify(object, null, 2);
    writeFileSync(files[number], `import type { I${kind} } from "${from}";\nexport const object: I${kind} = ${literal};\n`);
  }
  const options = {
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    noEmit: true,
    skipLibCheck: true,
    strict: true,
    target: ts.ScriptTarget.ES2022,
    types: [],
  };
  const program = ts.createProgram(files.filter(Boolean), options);
  for (const found of ts.getPreEmitDiagnostics(program)) {
    const message = ts.flattenDiagnosticMessageText(found.messageText, " ");
    const number = files.indexOf(found.file?.fileName);
    if (number < 0) throw new Error(message);
    complaints[number].push(message);
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(JSON.stringify(complaints));
