import { resolve } from 'node:path'
import * as v from 'valibot'
import { readDuration, writeDuration } from '../duration.ts'
import { parsePkcs11Uri } from '../hsm/pkcs11-uri.ts'
import { parseAddress } from '../transport/address.ts'

/** Stands in a message for the path of the value, which a value does not know. */
export const pathMark = '{}'

const longestShown = 80

/** A value as an error shows it. What is inside objects and lists is not shown: it may be a secret. */
export function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'string')
    return JSON.stringify(value.length > longestShown ? `${value.slice(0, longestShown)}…` : value)
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return 'a list'
  return value instanceof Date ? 'a date' : 'an object'
}

/** A message of a schema: what is allowed, and what came. */
export function expected(what: string): (issue: { readonly input: unknown }) => string {
  return ({ input }) => `Expected ${pathMark} to be ${what}, got ${shown(input)}.`
}

/** The same where a number or a date came unquoted for a text, as YAML and TOML have it. */
function expectedText(what: string): (issue: { readonly input: unknown }) => string {
  return ({ input }) => {
    const unquoted = typeof input === 'number' || typeof input === 'boolean' || input instanceof Date
    return `Expected ${pathMark} to be ${what}, got ${shown(input)}${unquoted ? ' without quotes' : ''}.`
  }
}

/** What a value looks like, for the reference. */
export type Form = { readonly form: string }

function form<Input>(text: string) {
  return v.metadata<Input, Form>({ form: text })
}

export const text = v.pipe(
  v.string(expectedText('a text')),
  v.minLength(1, expected('a text that is not empty')),
  form('text'),
)

/** A text that may be empty. */
export const anyText = v.pipe(v.string(expectedText('a text')), form('text, may be empty'))

export const flag = v.pipe(v.boolean(expected('true or false')), form('`true` or `false`'))

/** A text that some other part of leafkeeper can read, as `what` describes it. */
export function readable(what: string, example: string, read: (value: string) => unknown) {
  const isRead = (value: string): boolean => {
    try {
      return read(value) !== undefined
    } catch {
      return false
    }
  }
  return v.pipe(v.string(expectedText(what)), v.check(isRead, expected(what)), form(example))
}

export const host = readable('a host name, with a port or without', 'host or `host:port`', parseAddress)

/** The value is not shown where it is wrong: a URI may hold a PIN. */
export const pkcs11Uri = v.pipe(
  v.string(`Expected ${pathMark} to be a PKCS#11 URI such as pkcs11:token=gateway.`),
  v.check((value) => {
    try {
      return parsePkcs11Uri(value)['pin-value'] === undefined
    } catch {
      return false
    }
  }, `Expected ${pathMark} to be a PKCS#11 URI such as pkcs11:token=gateway, without a PIN.`),
  form('RFC 7512 URI'),
)

/** A whole number from `least` to `most`. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER) {
  const what =
    most === Number.MAX_SAFE_INTEGER
      ? `a whole number of at least ${least}`
      : `a whole number from ${least} to ${most}`
  return v.pipe(
    v.number(expected(what)),
    v.check((value) => Number.isSafeInteger(value) && value >= least && value <= most, expected(what)),
    form(what.slice(2)),
  )
}

/** A duration such as `30d`, in milliseconds where it is read; `most` in milliseconds too. */
export function duration({
  least = 0,
  most = Infinity,
}: { readonly least?: number; readonly most?: number } = {}) {
  const limits = [
    ...(least === 0 ? [] : [`of at least ${writeDuration(least)}`]),
    ...(most === Infinity ? [] : [`of at most ${writeDuration(most)}`]),
  ].join(' and ')
  const what = `a duration such as 30d, 12h, 10m, 90s or 500ms${limits === '' ? '' : `, ${limits}`}`
  return v.pipe(
    v.string(expectedText(what)),
    v.check((value) => {
      const milliseconds = readDuration(value)
      return milliseconds !== undefined && milliseconds >= least && milliseconds <= most
    }, expected(what)),
    v.transform((value) => readDuration(value) ?? 0),
    form(`duration${most === Infinity ? '' : `, at most ${writeDuration(most)}`}`),
  )
}

/** A percentage such as `66%`, as it is written. */
export const percentage = readable('a percentage from 0% to 100%', 'percentage', (value) => {
  const share = shareIn(value)
  return share <= 1 ? share : undefined
})

/** A percentage, as a number from 0 to 1 where it is read. */
export const share = v.pipe(percentage, v.transform(shareIn))

function shareIn(value: string): number {
  return Number(/^(\d+(?:\.\d+)?)%$/.exec(value)?.[1] ?? Number.NaN) / 100
}

/** One of a few words. */
export function oneOf<const Words extends readonly string[]>(words: Words) {
  return v.pipe(
    v.picklist(words, expected(`one of ${words.join(', ')}`)),
    form(words.map((word) => `\`${word}\``).join(', ')),
  )
}

/** The path of a file or folder, meant from a folder; absolute where it is read. */
export function pathFrom(folder: string) {
  return v.pipe(
    v.string(expectedText('a path')),
    v.minLength(1, expected('a path')),
    v.transform((path) => resolve(folder, path)),
    form('path'),
  )
}

/** A path where it has a slash, and otherwise a name that is looked up elsewhere. */
export function nameOrPathFrom(folder: string) {
  return v.pipe(
    v.string(expectedText('a name or a path')),
    v.minLength(1, expected('a name or a path')),
    v.transform((name) => (name.includes('/') ? resolve(folder, name) : name)),
    form('name, or path with a `/`'),
  )
}
