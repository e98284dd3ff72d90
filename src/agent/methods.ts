import { LeafkeeperError, type ErrorCode } from '../errors.ts'
import type { KeyType } from '../hsm/key-store.ts'
import type { MethodAnswer, MethodHandler } from '../hub/hub-transport.ts'
import type { Delivery, PendingRequest } from './certificate-exchange.ts'
import { readWindow, windowExpected } from './roll-window.ts'
import type { AgentStatus } from './status.ts'
import type { RollMode } from './states.ts'

/** Direct methods of an application, by name. */
export type MethodTable = Readonly<Record<string, (payload: unknown) => MethodAnswer | Promise<MethodAnswer>>>

/** The part of the agent that direct methods act on. */
export interface MethodTarget {
  status(): AgentStatus
  reprovision(): void
  /** Says why a roll cannot begin now; `undefined` when it can. */
  rollObstacle(mode: Exclude<RollMode, 'bootstrap'>): string | undefined
  beginRoll(request: WantedRoll): void
  rollWithin(window: { start: Date; end: Date; mode: WantedRoll['mode'] }): void
}

/** The pipeline whose other end is a back end. */
export interface MethodPipeline {
  request(request: WantedRoll): Promise<PendingRequest>
  /** @throws LeafkeeperError `CERT_*`, `AGENT_STATE_INVALID` */
  check(chain: string): Promise<Delivery>
  take(delivery: Delivery): Promise<void>
}

interface WantedRoll {
  readonly mode: Exclude<RollMode, 'bootstrap'>
  readonly keyType?: KeyType
}

const keyTypes: readonly KeyType[] = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072']

/** The direct methods that every agent answers. */
export const ownMethods = [
  'reprovision',
  'rollCertificate',
  'createCertificateRequest',
  'installCertificate',
  'getCertificateStatus',
] as const

/**
 * Answers the agent's own methods and those of the application. What may end the connection that the answer travels on
 * is answered with that it was accepted, and done afterwards.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the application names one of leafkeeper's own methods
 */
export function agentMethods(
  target: MethodTarget,
  pipeline: MethodPipeline,
  application: MethodTable,
): MethodHandler {
  const taken = ownMethods.find((name) => Object.hasOwn(application, name))
  if (taken !== undefined)
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `Expected methods not to name ${taken}, which leafkeeper answers itself.`,
    })
  return ({ name, payload }) => {
    switch (name) {
      case 'reprovision':
        return { status: 200, payload: { accepted: true }, afterwards: () => target.reprovision() }
      case 'rollCertificate':
        return rollCertificate(target, payload)
      case 'createCertificateRequest':
        return createCertificateRequest(pipeline, payload)
      case 'installCertificate':
        return installCertificate(pipeline, payload)
      case 'getCertificateStatus':
        return { status: 200, payload: certificateStatus(target.status()) }
      default: {
        const method = Object.hasOwn(application, name) ? application[name] : undefined
        return method === undefined ? unknownMethod(name, application) : method(payload)
      }
    }
  }
}

function rollCertificate(target: MethodTarget, payload: unknown): MethodAnswer {
  const wanted = wantedRoll(payload)
  if ('status' in wanted) return wanted
  const { window } = (payload ?? {}) as { window?: unknown }
  if (window !== undefined) return rollWithin(target, wanted, window)
  const obstacle = target.rollObstacle(wanted.mode)
  if (obstacle !== undefined) return { status: 409, payload: { accepted: false, message: obstacle } }
  return {
    status: 200,
    payload: { accepted: true, mode: wanted.mode },
    afterwards: () => target.beginRoll(wanted),
  }
}

/** Many devices are told the same window, and each begins at its own instant in it. */
function rollWithin(target: MethodTarget, { mode, keyType }: WantedRoll, window: unknown): MethodAnswer {
  if (keyType !== undefined)
    return invalid('no keyType beside a window, which rolls to the keys of the configuration', keyType)
  const read = readWindow(window)
  if (read === undefined) return invalid(windowExpected, window)
  const { start, end } = read
  return {
    status: 200,
    payload: { accepted: true, mode, window: { start: start.toISOString(), end: end.toISOString() } },
    afterwards: () => target.rollWithin({ start, end, mode }),
  }
}

async function createCertificateRequest(pipeline: MethodPipeline, payload: unknown): Promise<MethodAnswer> {
  const wanted = wantedRoll(payload)
  if ('status' in wanted) return wanted
  return answered(async () => ({ status: 200, payload: await pipeline.request(wanted) }))
}

async function installCertificate(pipeline: MethodPipeline, payload: unknown): Promise<MethodAnswer> {
  const { chain } = (isObject(payload) ? payload : {}) as { chain?: unknown }
  if (typeof chain !== 'string') return invalid('{ "chain": PEM, leaf first }', payload)
  return answered(async () => {
    const delivery = await pipeline.check(chain)
    const { thumbprint, notAfter } = delivery.certificate
    return {
      status: 200,
      payload: {
        accepted: true,
        generation: delivery.generation,
        thumbprint,
        notAfter: new Date(notAfter).toISOString(),
      },
      afterwards: () => void pipeline.take(delivery),
    }
  })
}

/** What the caller can mend is answered as such: a state that does not fit with 409, a certificate with 400. */
async function answered(work: () => Promise<MethodAnswer>): Promise<MethodAnswer> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof LeafkeeperError)) throw error
    const { code, message } = error
    return { status: statusOf(code), payload: { accepted: false, code, message } }
  }
}

function statusOf(code: ErrorCode): number {
  if (code.startsWith('CERT_')) return 400
  return code === 'AGENT_STATE_INVALID' ? 409 : 500
}

function wantedRoll(payload: unknown): WantedRoll | MethodAnswer {
  const wanted = payload ?? {}
  if (!isObject(wanted)) return invalid('a JSON object', payload)
  const { mode = 'expiry', keyType } = wanted as { mode?: unknown; keyType?: unknown }
  if (mode !== 'expiry' && mode !== 'breach') return invalid('mode to be "expiry" or "breach"', mode)
  if (keyType === undefined) return { mode }
  return isKeyType(keyType)
    ? { mode, keyType }
    : invalid(`keyType to be one of ${keyTypes.join(', ')}`, keyType)
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isKeyType(value: unknown): value is KeyType {
  return keyTypes.some((keyType) => keyType === value)
}

/** What a back end may know; dates as ISO 8601. */
function certificateStatus({
  active,
  connection,
  roll,
  nextRoll,
  assignment,
  token,
  lastError,
}: AgentStatus): object {
  return {
    connection,
    roll,
    nextRoll: nextRoll === null ? null : { ...nextRoll, at: new Date(nextRoll.at).toISOString() },
    hub: assignment?.hub ?? null,
    certificate:
      active === null
        ? null
        : {
            commonName: active.commonName,
            generation: active.generation,
            thumbprint: active.thumbprint,
            notBefore: new Date(active.notBefore).toISOString(),
            notAfter: new Date(active.notAfter).toISOString(),
          },
    token: { label: token.label, serial: token.serial, manufacturer: token.manufacturer, model: token.model },
    lastError,
  }
}

function invalid(expected: string, got: unknown): MethodAnswer {
  const message = `Expected ${expected}, got ${JSON.stringify(got)}.`
  return { status: 400, payload: { accepted: false, message } }
}

function unknownMethod(name: string, application: MethodTable): MethodAnswer {
  const known = [...ownMethods, ...Object.keys(application)].join(', ')
  return {
    status: 404,
    payload: { message: `There is no method ${JSON.stringify(name)}; there are ${known}.` },
  }
}
