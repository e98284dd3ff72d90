import { resolve } from 'node:path'
import * as v from 'valibot'
import { choice, has, members, required } from './members.ts'
import { pathMark, type Form } from './values.ts'

const notShown = 'what stands there is not shown, since it may be the secret itself'

/**
 * Where a secret is: `{ file }`, `{ env }` or `{ credential }`. Never the secret itself, so no error repeats a value
 * that stands there.
 */
export function secretFrom(folder: string) {
  const file = members({
    file: required(
      v.pipe(
        concealed('the path of a file', /./),
        v.transform((path) => resolve(folder, path)),
      ),
      'Its first line is the secret.',
    ),
  })
  const env = members({
    env: required(
      concealed('the name of an environment variable', /^[A-Za-z_][A-Za-z0-9_]*$/),
      'An environment variable with the secret.',
    ),
  })
  const credential = members({
    credential: required(
      concealed('the name of a credential of systemd', /^(?!\.\.?$)[^/]+$/),
      'A credential that systemd hands to the service (`LoadCredential=`); its first line is the secret.',
    ),
  })
  const nowhere = v.never(
    `Expected ${pathMark} to say where the secret is, as { file }, { env } or { credential }; ${notShown}.`,
  )
  const source = choice<typeof file | typeof env | typeof credential | typeof nowhere>(
    [file, env, credential],
    (value) => {
      if (has(value, 'file')) return file
      if (has(value, 'env')) return env
      return has(value, 'credential') ? credential : nowhere
    },
  )
  return v.pipe(source, v.metadata<v.InferOutput<typeof source>, Form>({ form: 'secret' }))
}

function concealed(what: string, pattern: RegExp) {
  const message = `Expected ${pathMark} to be ${what}; ${notShown}.`
  return v.pipe(v.string(message), v.regex(pattern, message), v.metadata<string, Form>({ form: what }))
}
