import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import { parse } from 'yaml'
import { expect, it } from 'vitest'
import { reference, referenceInMarkdown } from './reference.ts'

const page = fileURLToPath(new URL('../../docs/configuration.md', import.meta.url))

it('docs/configuration.md has the reference as the schema has it', async () => {
  const text = await readFile(page, 'utf8')
  const fresh = text.replace(
    /(<!-- generated: .*? -->\n)[^]*(<!-- end -->)/,
    (_all, begin: string, end: string) => `${begin}\n${referenceInMarkdown()}\n${end}`,
  )
  const formatted = await format(fresh, { ...(await resolveConfig(page)), filepath: page })
  await expect(formatted).toMatchFileSnapshot(page)
})

it('says of every member what it means', () => {
  const rows = reference().flatMap((section) => section.rows)
  expect(rows.filter(({ meaning, form }) => meaning === '' || form === '')).toEqual([])
  expect(rows.length).toBeGreaterThan(80)
})

it('has every member in a golden file', async () => {
  const files = await Promise.all(
    ['full.yaml', 'issuers.yaml', 'others.yaml'].map(async (name) =>
      readFile(new URL(name, import.meta.url), 'utf8'),
    ),
  )
  const set = new Set(files.flatMap((text) => pathsIn(parse(text))))
  const rows = reference().flatMap((section) => section.rows)
  expect(rows.map(({ path }) => path).filter((path) => !set.has(path))).toEqual([])
})

/** The path of everything in an object; an issuer for one reason counts as the only one. */
function pathsIn(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  if (path === 'issuer' && !('kind' in value))
    return Object.values(value).flatMap((issuer: unknown) => pathsIn(issuer, path))
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    const at = path === '' ? name : `${path}.${name}`
    return [at, ...pathsIn(member, at)]
  })
}
