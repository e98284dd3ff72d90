import * as v from 'valibot'
import { configurationSchema } from '../../src/config/configuration.ts'
import type { Alternatives, Meaning } from '../../src/config/members.ts'
import type { Form } from '../../src/config/values.ts'

/** A member of the configuration, as the reference has it. */
export interface ReferenceRow extends Meaning {
  readonly path: string
  readonly form: string
  readonly isRequired: boolean
}

/** The parts of a schema that say what is inside it. */
interface Inner {
  readonly type: string
  readonly wrapped?: v.GenericSchema
  readonly entries?: Readonly<Record<string, v.GenericSchema>>
  readonly key?: unknown
  readonly value?: v.GenericSchema
  readonly item?: v.GenericSchema
  readonly options?: readonly unknown[]
  readonly literal?: string
}

type Told = Partial<Form & Meaning & Alternatives>

const inner = (schema: v.GenericSchema): Inner => schema
const told = (schema: v.GenericSchema): Told => v.getMetadata(schema as never)

/** A part of the reference, with a table of its own. */
export interface ReferenceSection {
  readonly title: string
  readonly rows: readonly ReferenceRow[]
}

/** The reference as the schema has it: what stands at the top, then each section. */
export function reference(): readonly ReferenceSection[] {
  const top = Object.entries(inner(configurationSchema('/')).entries ?? {})
  const sections = top.flatMap(([name, schema]) => sectionsOf(name, required(schema)))
  return [{ title: 'At the top', rows: top.map(([name, schema]) => row(name, schema)) }, ...sections]
}

function sectionsOf(name: string, schema: v.GenericSchema): readonly ReferenceSection[] {
  if (name !== 'issuer') {
    const rows = rowsInside(name, schema)
    return rows.length === 0 ? [] : [{ title: `\`${name}\``, rows }]
  }
  const kinds = (told(schema).alternatives ?? []).filter((kind) => 'kind' in (inner(kind).entries ?? {}))
  return kinds.map((kind) => {
    const rows = rowsInside(name, kind)
    return { title: `\`${name}\` of the kind ${rows[0]?.form ?? ''}`, rows }
  })
}

function rowsInside(path: string, schema: v.GenericSchema): readonly ReferenceRow[] {
  const { alternatives, form } = told(schema)
  if (form !== undefined) return []
  if (alternatives !== undefined) return alternatives.flatMap((each) => oneWay(path, rowsInside(path, each)))
  return Object.entries(inner(schema).entries ?? {}).flatMap(([name, member]) => [
    row(`${path}.${name}`, member),
    ...rowsInside(`${path}.${name}`, required(member)),
  ])
}

function row(path: string, member: v.GenericSchema): ReferenceRow {
  const schema = required(member)
  const { meaning = '', otherwise } = told(schema)
  const isRequired = schema === member
  return {
    path,
    form: formOf(schema),
    isRequired,
    meaning,
    ...(otherwise === undefined ? {} : { otherwise }),
  }
}

/** What is required in one of several ways only. */
function oneWay(path: string, rows: readonly ReferenceRow[]): readonly ReferenceRow[] {
  const isDirect = (row: ReferenceRow): boolean => !row.path.slice(path.length + 1).includes('.')
  return rows.map((row) =>
    row.isRequired && isDirect(row) ? { ...row, isRequired: false, otherwise: 'another way' } : row,
  )
}

function required(member: v.GenericSchema): v.GenericSchema {
  return inner(member).wrapped ?? member
}

function formOf(schema: v.GenericSchema): string {
  const { form, alternatives } = told(schema)
  if (form !== undefined) return form
  const { type, value } = inner(schema)
  if (type === 'record' && value !== undefined) return `object of ${formOf(value)}`
  if (type === 'array') return 'list of texts'
  const words = (alternatives ?? []).flatMap((each) => inner(each).literal ?? [])
  return [...words.map((word) => `\`${word}\``), 'object'].join(' or ')
}

/** The tables of docs/configuration.md, before they are formatted. */
export function referenceInMarkdown(): string {
  return reference()
    .map(({ title, rows }) =>
      [
        `### ${title}\n`,
        '| member | value | without it | meaning |',
        '| --- | --- | --- | --- |',
        ...rows.map(({ path, form, isRequired, meaning, otherwise }) => {
          const cells = [`\`${path}\``, form, isRequired ? '**required**' : (otherwise ?? ''), meaning]
          return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
        }),
        '',
      ].join('\n'),
    )
    .join('\n')
}
