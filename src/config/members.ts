import * as v from 'valibot'
import { nearest } from './nearest.ts'
import { expected, pathMark } from './values.ts'

/** What the reference says of a member. */
export type Meaning = {
  readonly meaning: string
  /** What holds where the member is left out, in words. */
  readonly otherwise?: string
}

/** A member that must be there. */
export function required<Schema extends v.GenericSchema>(schema: Schema, meaning: string) {
  return v.pipe(schema, v.metadata<v.InferOutput<Schema>, Meaning>({ meaning }))
}

/** A member that may be left out. */
export function optional<Schema extends v.GenericSchema>(
  schema: Schema,
  meaning: string,
  otherwise?: string,
) {
  return v.exactOptional(
    v.pipe(
      schema,
      v.metadata<v.InferOutput<Schema>, Meaning>(
        otherwise === undefined ? { meaning } : { meaning, otherwise },
      ),
    ),
  )
}

/** An object with these members and no others. */
export function members<Entries extends v.ObjectEntries>(entries: Entries) {
  const names = Object.keys(entries)
  return v.strictObject(entries, (issue) => {
    const [at] = issue.path ?? []
    if (at === undefined) return expected(`an object with ${inWords(names)}`)(issue)
    if (Array.isArray(at.input))
      return `There is a list at ${pathMark}, where members with names are expected.`
    return issue.expected === 'never' ? strange(String(at.key), names) : `${pathMark} is missing.`
  })
}

function strange(name: string, names: readonly string[]): string {
  const meant = nearest(name, names)
  return meant === undefined
    ? `There is no ${pathMark}; possible there: ${names.join(', ')}.`
    : `There is no ${pathMark}; did you mean ${meant}?`
}

function inWords(names: readonly string[]): string {
  return names.length === 1 ? `the member ${names.join()}` : `members such as ${names.slice(0, 3).join(', ')}`
}

/** What an alternative is recognised by; the reference lists them all. */
export type Alternatives = { readonly alternatives: readonly v.GenericSchema[] }

/**
 * One of several schemas, chosen by what the value looks like, so that an error is about the one that was meant.
 *
 * @param pick gives the schema that a value is held against, which is one of `alternatives`
 */
export function choice<Schema extends v.GenericSchema>(
  alternatives: readonly v.GenericSchema[],
  pick: (value: unknown) => Schema,
) {
  return v.pipe(v.lazy(pick), v.metadata<v.InferOutput<Schema>, Alternatives>({ alternatives }))
}

/** Whether a value has a member of this name. */
export function has(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && name in value
}
