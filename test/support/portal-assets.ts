import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { afterAll } from 'vitest'

let made: URL | undefined

/** The page's script as the build compiles it: tests run the server from its source, which a browser cannot. */
export function portalAssets(): URL {
  made ??= compile()
  return made
}

function compile(): URL {
  const folder = mkdtempSync(join(tmpdir(), 'leafkeeper-portal-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const source = readFileSync(new URL('../../sim/portal/page/live.ts', import.meta.url), 'utf8')
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 },
  })
  writeFileSync(join(folder, 'live.js'), outputText)
  return pathToFileURL(`${folder}/`)
}
