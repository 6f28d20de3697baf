// What the app's identity may do in a subscription whose costs it reads. Once for each subscription:
//   az deployment sub create --subscription ID --location REGION --name warden-REGION \
//     --template-file infra/subscriptions.bicep --parameters principalId=… lockMode=… lockStopCompute=… azureBudgets=…
targetScope = 'subscription'

@minLength(36)
@maxLength(36)
@description('The principal id of the app\'s identity (azd env get-value WARDEN_IDENTITY_PRINCIPAL_ID).')
param principalId string

@description('With enforce, locks are put on resource groups, and taken off.')
param lockMode 'off' | 'dry-run' | 'enforce' = 'dry-run'

@description('With enforce: whether machines are stopped before the lock.')
param lockStopCompute bool = false

@description('Whether Azure\'s own budgets are kept in step.')
param azureBudgets bool = false

var roles = loadJsonContent('roles.json')
var wanted = concat(
  [azureBudgets ? roles.costContributor : roles.costReader],
  lockMode == 'enforce' ? [roles.locksContributor] : [],
  lockMode == 'enforce' && lockStopCompute ? [roles.machineContributor] : []
)

resource grants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in wanted: {
    name: guid(subscription().id, principalId, role.id)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.id)
      description: role.why
    }
  }
]
