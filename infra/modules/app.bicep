// The function app on Flex Consumption. It is given its roles first: the platform fetches its package by its identity.
param name string
param planName string
@description('azd finds the app that it deploys to by this tag.')
param serviceName string
param location string
param tags object
param identityName string
param storageName string
param packageContainer string
@description('The megabytes that an instance has.')
param instanceMegabytes int
param mostInstances int
@description('The app settings, by their names.')
param settings object
@description('The client id of the app registration by which people sign in; empty: nobody does.')
param webClientId string
@description('The setting that names the identity which signs in for the registration, in place of a secret.')
param federationSetting string
@description('The paths that check by themselves who calls: all others are for people who have signed in.')
param openPaths string[]

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { tier: 'FlexConsumption', name: 'FC1' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': serviceName })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identity.id
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMegabytes
        maximumInstanceCount: mostInstances
      }
      runtime: { name: 'python', version: '3.12' }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
  }

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: settings
  }

  resource signIn 'config' = {
    name: 'authsettingsV2'
    properties: {
      platform: { enabled: !empty(webClientId), runtimeVersion: '~1' }
      globalValidation: {
        requireAuthentication: !empty(webClientId)
        unauthenticatedClientAction: empty(webClientId) ? 'AllowAnonymous' : 'RedirectToLoginPage'
        redirectToProvider: empty(webClientId) ? null : 'azureactivedirectory'
        excludedPaths: openPaths
      }
      identityProviders: empty(webClientId)
        ? {}
        : {
            azureActiveDirectory: {
              enabled: true
              registration: {
                openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
                clientId: webClientId
                clientSecretSettingName: federationSetting
              }
              validation: { allowedAudiences: [webClientId, 'api://${webClientId}'] }
            }
          }
      login: { tokenStore: { enabled: false } }
      httpSettings: { requireHttps: true }
    }
  }

  // Nobody deploys with a password.
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }
}

output host string = app.properties.defaultHostName
