import { ServiceError } from '../errors.ts'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import { managementErrors } from '../http/error-style.ts'
import { createServiceApp, requireApiVersion, type ServiceApp } from '../http/service-app.ts'
import { iotHubVersions, provisioningServiceVersions } from './api-versions.ts'
import { addCertificateRoutes } from './certificate-routes.ts'

/** What the management API works on. */
export interface ManagementParts {
  /** What the caller must show as its bearer token. */
  readonly token: string
  /** The certificates of a provisioning service by its name; `undefined` when there is none. */
  readonly ofProvisioningService: (name: string) => CertificateStore | undefined
  /** The certificates of a hub by its name; `undefined` when there is none. */
  readonly ofHub: (name: string) => CertificateStore | undefined
  /** Milliseconds since 1970. */
  readonly now: () => number
}

const provider = '/subscriptions/:subscription/resourcegroups/:group/providers/microsoft.devices'

/**
 * The part of Azure Resource Manager that keeps the certificates of authorities, with proof of possession. There is
 * no other API for them.
 */
export function managementApp({ token, ofProvisioningService, ofHub, now }: ManagementParts): ServiceApp {
  const words = [0, 2, 4, 5, 6, 8, 10]
  const app = createServiceApp({ errors: managementErrors, now, words })
  app.use(async (context, next) => {
    if (context.req.header('authorization') !== `Bearer ${token}`) {
      throw new ServiceError(401, 401000, 'Expected the bearer token of this cloud.')
    }
    await next()
  })
  const dps = `${provider}/provisioningservices/:resource`
  app.use(`${dps}/*`, requireApiVersion(provisioningServiceVersions))
  addCertificateRoutes(app, `${dps}/certificates`, {
    type: 'Microsoft.Devices/ProvisioningServices/Certificates',
    storeOf: ofProvisioningService,
  })
  const hub = `${provider}/iothubs/:resource`
  app.use(`${hub}/*`, requireApiVersion(iotHubVersions))
  addCertificateRoutes(app, `${hub}/certificates`, {
    type: 'Microsoft.Devices/IotHubs/Certificates',
    storeOf: ofHub,
  })
  return app
}
