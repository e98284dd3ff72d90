import { ServiceError } from '../errors.ts'
import { readAnyCertificate } from '../certificates/read-certificate.ts'
import { parseJson } from '../hub/json.ts'

/** What a form may send: texts, and files. */
export type FormFields = Readonly<Record<string, string | File | undefined>>

/** A form as a person has sent it. */
export class Form {
  readonly #fields: FormFields

  constructor(fields: FormFields) {
    this.#fields = fields
  }

  /** A text, without the spaces around it; empty when there is none. */
  text(name: string): string {
    const value = this.#fields[name]
    return typeof value === 'string' ? value.trim() : ''
  }

  /** Whether a box is ticked. */
  isTicked(name: string): boolean {
    return this.text(name) !== ''
  }

  /** A number; `undefined` when the field is empty. @throws ServiceError 400 */
  number(name: string): number | undefined {
    const text = this.text(name)
    if (text === '') return undefined
    const value = Number(text)
    if (Number.isFinite(value)) return value
    throw new ServiceError(400, 400004, `${name}: expected a number, got "${text}".`)
  }

  /** JSON; `undefined` when the field is empty. @throws ServiceError 400 */
  json(name: string): unknown {
    const text = this.text(name)
    if (text === '') return undefined
    const value = parseJson(text)
    if (value === undefined) throw new ServiceError(400, 400004, `${name}: expected JSON.`)
    return value
  }

  /** The certificate in a file, PEM or DER, as PEM; `undefined` when no file was chosen. @throws ServiceError 400 */
  async certificate(name: string): Promise<string | undefined> {
    const file = this.#fields[name]
    if (!(file instanceof File) || file.size === 0) return undefined
    const content = Buffer.from(await file.arrayBuffer())
    const isPem = content.includes('-----BEGIN')
    const text = isPem ? content.toString() : content.toString('base64')
    return readAnyCertificate(text, `The file ${file.name}`).toString()
  }
}
