import { LeafkeeperError } from '../errors.ts'
import type { KeyType } from '../hsm/key-store.ts'
import type { MethodAnswer, MethodHandler } from '../hub/hub-transport.ts'
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
  beginRoll(request: { mode: Exclude<RollMode, 'bootstrap'>; keyType?: KeyType }): void
}

const keyTypes: readonly KeyType[] = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072']

/** The direct methods that every agent answers. */
export const ownMethods = ['reprovision', 'rollCertificate', 'getCertificateStatus'] as const

/**
 * Answers `reprovision`, `rollCertificate`, `getCertificateStatus` and the application's own methods. The first two
 * answer that they were accepted and act afterwards, because acting may end the connection the answer travels on.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the application names one of leafkeeper's own methods
 */
export function agentMethods(target: MethodTarget, application: MethodTable): MethodHandler {
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
  const wanted = payload ?? {}
  if (typeof wanted !== 'object') return invalid('a JSON object', payload)
  const { mode = 'expiry', keyType } = wanted as { mode?: unknown; keyType?: unknown }
  if (mode !== 'expiry' && mode !== 'breach') return invalid('mode to be "expiry" or "breach"', mode)
  if (keyType !== undefined && !isKeyType(keyType))
    return invalid(`keyType to be one of ${keyTypes.join(', ')}`, keyType)
  const obstacle = target.rollObstacle(mode)
  if (obstacle !== undefined) return { status: 409, payload: { accepted: false, message: obstacle } }
  return {
    status: 200,
    payload: { accepted: true, mode },
    afterwards: () => target.beginRoll(keyType === undefined ? { mode } : { mode, keyType }),
  }
}

function isKeyType(value: unknown): value is KeyType {
  return keyTypes.some((keyType) => keyType === value)
}

/** What a back end may know; dates as ISO 8601. */
function certificateStatus({ active, connection, roll, assignment, token, lastError }: AgentStatus): object {
  return {
    connection,
    roll,
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
