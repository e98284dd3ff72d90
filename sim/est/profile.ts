import { encodeCsrAttributes, type CsrAttribute } from './csr-attributes.ts'

/** What an EST server does under one label. */
export interface EstProfile {
  /** The segment of the path between `/.well-known/est` and the operation; empty for none. */
  readonly label: string
  /** How long a certificate is valid. Default 90. */
  readonly validityDays: number
  /** `manual`: 202 until somebody has said yes or no. Default `automatic`. */
  readonly approval: 'automatic' | 'manual'
  /** What Retry-After says, in seconds. Default 1. */
  readonly retryAfterSeconds: number
  /** How Retry-After says it (RFC 9110, 10.2.3). Default `seconds`. */
  readonly retryAfterForm: 'seconds' | 'date'
  /** What requests are to have. Default nothing. */
  readonly attributes: readonly CsrAttribute[]
}

const unlabelled: EstProfile = {
  label: '',
  validityDays: 90,
  approval: 'automatic',
  retryAfterSeconds: 1,
  retryAfterForm: 'seconds',
  attributes: [],
}

/** The names of operations are no labels (RFC 7030, 3.2.2). */
const operations = ['cacerts', 'csrattrs', 'simpleenroll', 'simplereenroll', 'fullcmc', 'serverkeygen']

/**
 * The profile with what was asked for.
 *
 * @throws RangeError that says what was expected
 */
export function completeProfile(
  order: Partial<EstProfile>,
  before: EstProfile | undefined = unlabelled,
): EstProfile {
  const profile = { ...before, ...order }
  const { label, validityDays, retryAfterSeconds, attributes } = profile
  if (!/^[A-Za-z0-9._~-]*$/.test(label) || operations.includes(label))
    throw new RangeError(`An EST label: expected letters, digits and . _ ~ -, no operation, got "${label}".`)
  if (!(validityDays > 0 && validityDays <= 3650))
    throw new RangeError(`An EST profile: expected validityDays above 0, up to 3650, got ${validityDays}.`)
  if (!Number.isInteger(retryAfterSeconds) || retryAfterSeconds < 0)
    throw new RangeError(`An EST profile: expected whole retryAfterSeconds, got ${retryAfterSeconds}.`)
  encodeCsrAttributes(attributes)
  return profile
}
