/** What speaks to clients: DPS to devices, over MQTT and HTTPS; hubs to devices, over MQTT; the service APIs; EST. */
export const faces = ['dps', 'dps-service', 'hub', 'hub-service', 'management', 'est'] as const
export type Face = (typeof faces)[number]

/** What can be wrong with any face. */
export const disturbances = ['latency', 'throttled', 'error', 'dropped', 'answer-lost'] as const
export type Disturbance = (typeof disturbances)[number]

/** Faults of the cloud as a whole. */
export const cloudFaults = [
  'tls-refused',
  'issuance-slow',
  'issuance-stuck',
  'issuance-wrong',
  'est-garbage',
  'clock-skew',
  'hub-failover',
  'ca-revoked',
] as const
export type CloudFault = (typeof cloudFaults)[number]

/** Every fault there is. */
export type FaultName = `${Face}-${Disturbance}` | CloudFault

export const faultNames: readonly FaultName[] = [
  ...faces.flatMap((face) => disturbances.map((disturbance) => `${face}-${disturbance}` as const)),
  ...cloudFaults,
]

/** How a fault is meant; each fault reads what concerns it. */
export interface FaultSettings {
  /** Milliseconds: of a latency, of a slow issuance, of a skew. */
  readonly ms?: number
  /** HTTP status of an `-error`. Default 500. */
  readonly status?: number
  /** Seconds, of a `-throttled`. Default 1. */
  readonly retryAfter?: number
  /** How often it comes to pass before it is over. Default: until it is cleared. */
  readonly times?: number
  /** How likely it comes to pass on an occasion, 0 to 1, by the seed of the cloud. Default 1. */
  readonly probability?: number
  /** The hub that fails over. */
  readonly hub?: string
  /** The name of the authority that is revoked, as DPS has it. */
  readonly certificate?: string
}

/** A fault that is set. */
export interface SetFault {
  readonly name: FaultName
  readonly settings: FaultSettings
}

/** The number or text that a fault takes on the command line, as in `dps-latency=200`. */
const valueOf: Readonly<Partial<Record<Disturbance | CloudFault, keyof FaultSettings>>> = {
  latency: 'ms',
  throttled: 'retryAfter',
  error: 'status',
  dropped: 'times',
  'answer-lost': 'times',
  'tls-refused': 'times',
  'issuance-slow': 'ms',
  'issuance-wrong': 'times',
  'est-garbage': 'times',
  'clock-skew': 'ms',
  'hub-failover': 'hub',
  'ca-revoked': 'certificate',
}

/**
 * Reads a fault as it stands on a command line.
 *
 * @example
 * ```ts
 * readFault('dps-latency=200') // { name: 'dps-latency', settings: { ms: 200 } }
 * ```
 * @throws RangeError that says what was expected
 */
export function readFault(text: string): SetFault {
  const [, written = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(text) ?? []
  const name = faultNames.find((one) => one === written)
  if (name === undefined) {
    throw new RangeError(`There is no fault "${written}": expected one of ${faultNames.join(', ')}.`)
  }
  if (value === undefined) return checked({ name, settings: {} })
  const setting = settingOf(name)
  if (setting === undefined) throw new RangeError(`The fault ${name} takes no value.`)
  if (setting === 'hub' || setting === 'certificate') return { name, settings: { [setting]: value } }
  return checked({ name, settings: { [setting]: value === '' ? Number.NaN : Number(value) } })
}

/** The setting that a fault is mostly given, or cannot do without; `undefined` when it takes none but `times`. */
export function settingOf(name: FaultName): keyof FaultSettings | undefined {
  const kind = parseFaultName(name)
  return valueOf[kind.disturbance ?? kind.fault]
}

/** A fault by its parts. */
export function parseFaultName(
  name: FaultName,
):
  | { readonly face: Face; readonly disturbance: Disturbance; readonly fault?: undefined }
  | { readonly fault: CloudFault; readonly disturbance?: undefined } {
  const fault = cloudFaults.find((one) => one === name)
  if (fault !== undefined) return { fault }
  for (const face of faces) {
    const disturbance = disturbances.find((one) => `${face}-${one}` === name)
    if (disturbance !== undefined) return { face, disturbance }
  }
  throw new RangeError(`There is no fault "${name}": expected one of ${faultNames.join(', ')}.`)
}

/** @throws RangeError for a setting that is missing or out of range */
export function checked(fault: SetFault): SetFault {
  const { name, settings } = fault
  const { ms, status, retryAfter, times, probability } = settings
  const require = (fits: boolean, what: string): void => {
    if (!fits) throw new RangeError(`The fault ${name}: expected ${what}.`)
  }
  const kind = parseFaultName(name)
  const needsMs =
    kind.disturbance === 'latency' || kind.fault === 'issuance-slow' || kind.fault === 'clock-skew'
  if (needsMs || ms !== undefined) require(Number.isFinite(ms), '`ms`, a number of milliseconds')
  if (ms !== undefined && kind.fault !== 'clock-skew') require(ms >= 0, '`ms` not to be negative')
  if (status !== undefined) require(status >= 500 && status <= 599, '`status` from 500 to 599')
  if (retryAfter !== undefined)
    require(Number.isInteger(retryAfter) && retryAfter >= 0, '`retryAfter` in whole seconds')
  if (times !== undefined) require(times >= 1, '`times` of at least 1')
  if (probability !== undefined) require(probability >= 0 && probability <= 1, '`probability` from 0 to 1')
  if (kind.fault === 'hub-failover') require(settings.hub !== undefined, '`hub`, the hub that fails over')
  if (kind.fault === 'ca-revoked')
    require(settings.certificate !== undefined, '`certificate`, its name in DPS')
  return fault
}
