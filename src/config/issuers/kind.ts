import * as v from 'valibot'
import { required } from '../members.ts'
import type { Form } from '../values.ts'

/** The member that tells one kind of issuer from another. */
export function kind<const Name extends string>(name: Name, meaning: string) {
  return required(v.pipe(v.literal(name), v.metadata<Name, Form>({ form: `\`${name}\`` })), meaning)
}
