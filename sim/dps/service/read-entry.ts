import { ServiceError } from '../../errors.ts'
import { isRecord, type JsonRecord } from '../../http/request-body.ts'
import { readTwinChange } from '../../hub/service/twin-body.ts'
import type {
  AllocationPolicy,
  EnrollmentGroup,
  EntryAttestation,
  IndividualEnrollment,
  InitialTwin,
} from '../enrollment.ts'
import { readAttestation, type CertificateKeeper } from './read-attestation.ts'

/** Reads an individual enrollment as the REST API has it. @throws ServiceError 400 */
export function readEnrollment(
  id: string,
  json: JsonRecord,
  keeper: CertificateKeeper,
): IndividualEnrollment {
  sameId(id, json['registrationId'], 'registrationId')
  const deviceId = optionalText(json, 'deviceId')
  const information = json['optionalDeviceInformation']
  return {
    registrationId: id,
    ...(deviceId === undefined ? {} : { deviceId }),
    ...(isRecord(information) ? { optionalDeviceInformation: information } : {}),
    ...common(json, readAttestation(json['attestation'], 'clientCertificates', keeper)),
  }
}

/** Reads an enrollment group as the REST API has it. @throws ServiceError 400 */
export function readGroup(id: string, json: JsonRecord, keeper: CertificateKeeper): EnrollmentGroup {
  sameId(id, json['enrollmentGroupId'], 'enrollmentGroupId')
  return {
    enrollmentGroupId: id,
    ...common(json, readAttestation(json['attestation'], 'signingCertificates', keeper)),
  }
}

type Common = Omit<EnrollmentGroup, 'enrollmentGroupId'>

function common(json: JsonRecord, attestation: EntryAttestation): Common {
  const iotHubHostName = optionalText(json, 'iotHubHostName')
  const status = oneOf(json, 'provisioningStatus', ['enabled', 'disabled'] as const)
  const policies: readonly AllocationPolicy[] = ['hashed', 'geoLatency', 'static', 'custom']
  const allocationPolicy = oneOf(json, 'allocationPolicy', policies)
  const reprovision = optionalObject(json, 'reprovisionPolicy')
  const custom = optionalObject(json, 'customAllocationDefinition')
  const initialTwin = optionalObject(json, 'initialTwin')
  const capabilities = optionalObject(json, 'capabilities')
  const credentialPolicyName = optionalText(json, 'credentialPolicyName')
  const iotHubs = hubNames(json['iotHubs'])
  return {
    attestation,
    ...(status === undefined ? {} : { provisioningStatus: status }),
    ...(iotHubHostName === undefined ? {} : { iotHubHostName }),
    ...(allocationPolicy === undefined ? {} : { allocationPolicy }),
    ...(iotHubs === undefined ? {} : { iotHubs }),
    ...(reprovision === undefined
      ? {}
      : {
          reprovisionPolicy: {
            updateHubAssignment: flag(reprovision, 'updateHubAssignment', true),
            migrateDeviceData: flag(reprovision, 'migrateDeviceData', true),
          },
        }),
    ...(custom === undefined
      ? {}
      : {
          customAllocationDefinition: {
            webhookUrl: optionalText(custom, 'webhookUrl') ?? '',
            apiVersion: optionalText(custom, 'apiVersion') ?? '',
          },
        }),
    ...(initialTwin === undefined ? {} : { initialTwin: readTwin(initialTwin) }),
    ...(capabilities === undefined
      ? {}
      : { capabilities: { iotEdge: flag(capabilities, 'iotEdge', false) } }),
    ...(credentialPolicyName === undefined ? {} : { credentialPolicyName }),
  }
}

function readTwin(json: JsonRecord): InitialTwin {
  const given = {
    tags: optionalObject(json, 'tags'),
    properties: { desired: optionalObject(optionalObject(json, 'properties') ?? {}, 'desired') },
  }
  // A hub takes it later, when nobody could be told that it cannot.
  const { tags, desired } = readTwinChange(given)
  return {
    ...(tags === undefined ? {} : { tags }),
    ...(desired === undefined ? {} : { properties: { desired } }),
  }
}

function hubNames(value: unknown): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined
  if (Array.isArray(value) && value.every((name): name is string => typeof name === 'string')) return value
  throw refused('iotHubs', 'an array of host names')
}

function sameId(id: string, inBody: unknown, name: string): void {
  if (typeof inBody !== 'string' || inBody.toLowerCase() !== id.toLowerCase()) {
    throw refused(name, `"${id}", as in the path`)
  }
}

function optionalText(json: JsonRecord, name: string): string | undefined {
  const value = json[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  throw refused(name, 'text')
}

function optionalObject(json: JsonRecord, name: string): JsonRecord | undefined {
  const value = json[name]
  if (value === undefined || value === null) return undefined
  if (isRecord(value)) return value
  throw refused(name, 'an object')
}

function flag(json: JsonRecord, name: string, otherwise: boolean): boolean {
  const value = json[name] ?? otherwise
  if (typeof value === 'boolean') return value
  throw refused(name, 'true or false')
}

function oneOf<T extends string>(json: JsonRecord, name: string, allowed: readonly T[]): T | undefined {
  const value = json[name]
  if (value === undefined || value === null) return undefined
  const found = allowed.find((one) => typeof value === 'string' && one.toLowerCase() === value.toLowerCase())
  if (found === undefined) throw refused(name, `one of ${allowed.join(', ')}`)
  return found
}

function refused(name: string, expected: string): ServiceError {
  return new ServiceError(400, 400004, `Bad request: expected ${name} to be ${expected}.`)
}
