import { ServiceError } from '../../errors.ts'
import { hubErrors } from '../../http/error-style.ts'
import { sasRefusal } from '../../http/sas.ts'
import { createServiceApp, requireApiVersion, type ServiceApp } from '../../http/service-app.ts'
import type { SimulatedHub } from '../hub.ts'
import { addDeviceRoutes } from './device-routes.ts'
import { addJobRoutes } from './job-routes.ts'
import { addQueryRoutes } from './query-routes.ts'
import type { HubContext, Permit } from './permit.ts'
import { addTwinRoutes } from './twin-routes.ts'

/** Every version of the service API that hubs have had. */
const apiVersions = [
  '2016-02-03',
  '2016-11-14',
  '2017-06-30',
  '2017-11-08-preview',
  '2018-04-01',
  '2018-06-30',
  '2019-03-30',
  '2019-07-01-preview',
  '2019-10-01',
  '2020-03-01',
  '2020-03-13',
  '2020-05-31-preview',
  '2020-09-30',
  '2021-04-12',
]

/**
 * A hub's REST API, as `azure-iothub` speaks it.
 *
 * @example
 * ```ts
 * front.mount((host) => host === hub.hostName, hubServiceApp(hub))
 * ```
 */
export function hubServiceApp(hub: SimulatedHub): ServiceApp {
  const app = createServiceApp({ errors: hubErrors, now: hub.now, words: [0] })
  const permit: Permit =
    (...anyOf) =>
    async (context, next) => {
      const refusal = sasRefusal(context.req.header('authorization'), {
        resource: hub.hostName + decodedPath(context),
        keysOf: (policyName) => hub.policies.keysFor(policyName, anyOf),
        now: hub.now(),
      })
      if (refusal !== undefined) {
        throw new ServiceError(401, 401002, 'ErrorCode:IotHubUnauthorizedAccess;Unauthorized')
      }
      await next()
    }
  // Before anything is said about paths or versions, the caller must be one of the hub's.
  app.use(permit('RegistryRead', 'RegistryWrite', 'ServiceConnect', 'DeviceConnect'))
  app.use(requireApiVersion(apiVersions))
  addQueryRoutes(app, hub, permit)
  addDeviceRoutes(app, hub, permit)
  addTwinRoutes(app, hub, permit)
  addJobRoutes(app, hub, permit)
  return app
}

/** A token may be for a part of the hub only. */
function decodedPath(context: HubContext): string {
  try {
    return decodeURIComponent(context.req.path)
  } catch {
    throw new ServiceError(400, 400004, 'The path is not percent-encoded as it must be.')
  }
}
